"""Every kind of fault is found, with the file and the field it is in, all in one go."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from data_checks import NO_LEAST_SIZE, change, check, faults, found
from data_sets import write_parts, write_voc

from sppdet.config.data import DataConfig
from sppdet.data.checks.check import check_data


@pytest.mark.parametrize("layout", ["voc", "roboflow xml", "roboflow coco", "coco", "yolo", "yolo lists"])
def test_nothing_is_wrong_with_right_data(tmp_path, layout):
    root = write_voc(tmp_path) if layout == "voc" else write_parts(tmp_path, layout)
    checked = check(root, classes=["cat", "dog"])
    assert not faults(checked)
    splits = checked.as_dict()["summary"]["splits"]
    assert sorted(splits.values(), key=str) == [
        {"images": 1, "without_objects": 0, "objects": 2},
        {"images": 2, "without_objects": 1, "objects": 1},
        {"images": 3, "without_objects": 0, "objects": 4},
    ]
    assert sum(sum(counts.values()) for counts in checked.objects().values()) == 7
    assert "nothing wrong found" in str(replace(checked, problems=()))


def test_an_unreadable_annotation_file_is_one_of_the_problems(tmp_path):
    root = write_parts(tmp_path, "coco")
    file = root / "annotations/instances_val2017.json"
    file.write_text('{"images": [], "annotations": [')
    checked = check(root)
    assert found(checked, "unusable file")[0].file == str(file)
    assert list(map(len, checked.parts.values())) == [3, 0, 2]


def test_only_what_is_trained_on_is_reported_before_a_training(voc):
    for name in "df":
        change(voc / f"Annotations/{name}.xml", "<width>64</width>", "<width>99</width>")
    shutil.copy(voc / "JPEGImages/a.png", voc / "JPEGImages/c.png")
    checked = check_data(DataConfig(root=str(voc)), NO_LEAST_SIZE, "val", training=True, decode=False)
    assert [Path(problem.file).name for problem in checked.errors] == ["d.xml"]
    assert len(found(checked, "image in two splits")) == 1, "copies among the test images are reported"


def test_two_annotation_files_of_one_name_are_both_checked(tmp_path):
    root = write_parts(tmp_path, "roboflow coco")
    train, val = (root / f"{part}/_annotations.coco.json" for part in ("train", "valid"))
    change(train, '"width": 64', '"width": 65.5')
    config = DataConfig(root=str(root), annotations=str(train))
    checked = check_data(config, NO_LEAST_SIZE, str(val), training=True, decode=False)
    assert [len(images) for images in checked.parts.values()] == [3, 1]
    change(train, '"width": 65.5', '"width": 80')
    checked = check_data(config, NO_LEAST_SIZE, str(val), training=True, decode=False)
    assert {problem.file for problem in checked.errors} == {str(train)}


def test_the_table_counts_each_kind_and_names_the_first_files(voc):
    for name in "abde":
        change(voc / f"Annotations/{name}.xml", "<width>64</width>", "<width>99</width>")
    lines = str(check(voc)).splitlines()
    (row,) = [line for line in lines if line.startswith("annotated size  ")]
    assert " ".join(row.split()) == "annotated size error 4 Annotations/a.xml, Annotations/b.xml, Annotations/d.xml"
    assert any(line.startswith("annotated size: Annotations/a.xml: size: ") for line in lines)
