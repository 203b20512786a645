"""Reading whatever a folder holds: the format is found, and the same images and boxes come of all."""

import logging
import re
from pathlib import Path

import pytest
from data_sets import (
    CLASSES,
    PARTS,
    SCENES,
    assert_scenes,
    coco_of,
    read_scenes,
    stems,
    write_files,
    write_image,
    write_parts,
    write_text,
    write_voc,
    write_whole,
    xml_of,
)

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.data.problems import Problems
from sppdet.errors import DataError
from sppdet.files.atomic import write_json

WITH_PARTS = [
    *("roboflow xml", "xml by kind", "roboflow coco", "coco", "coco images by part"),
    *("roboflow yolo", "yolo", "yolo lists"),
]
WHOLE = [
    *("voc without lists", "xml beside", "xml in folders of other names", "coco beside", "coco"),
    *("yolo beside", "yolo", "yolo with yaml"),
]


@pytest.mark.parametrize("layout", ["voc", *WITH_PARTS])
def test_the_parts_of_a_layout_are_its_splits(tmp_path, layout):
    root = write_voc(tmp_path / "set") if layout == "voc" else write_parts(tmp_path / "set", layout)
    splits = {**PARTS, "trainval": PARTS["train"] + PARTS["val"], "valid": PARTS["val"], "training": PARTS["train"]}
    for split, expected in splits.items():
        dataset = read_scenes(root, split)
        assert stems(dataset) == expected
        assert_scenes(dataset)
    with pytest.raises(DataError, match=r"split: no such split .*test.*got extra") as caught:
        read_scenes(root, "extra")
    assert caught.value.field == "split"


@pytest.mark.parametrize("layout", WHOLE)
def test_a_set_without_parts_is_divided_alike_in_all_layouts(tmp_path, layout):
    expected = {
        split: stems(read_scenes(write_whole(tmp_path / "first", WHOLE[0]), split))
        for split in ("train", "val", "test")
    }
    root = write_whole(tmp_path / "set", layout)
    for split in ("train", "val", "test", "trainval"):
        dataset = read_scenes(root, split)
        assert stems(dataset) == expected.get(split, "".join(sorted(expected["train"] + expected["val"])))
        assert_scenes(dataset)
    assert sorted("".join(expected.values())) == sorted(SCENES)


def test_one_line_says_what_was_found_and_how_it_was_split(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        read_scenes(write_voc(tmp_path / "voc"), "test")
        read_scenes(write_whole(tmp_path / "set", "yolo"), "trainval", classes=["dog"])
    assert caplog.messages == [
        "voc test (VOC layout, splits test, train, trainval, val): 2 images (1 without objects), 1 object of 2 classes",
        "set trainval (YOLO format, divided by seed 0 into train 3, val 1, test 2): "
        "4 images (2 without objects), 3 objects of 1 class, 2 objects of other classes ignored (cat 2)",
    ]


def test_the_counts_add_up_to_what_is_on_disk(tmp_path, caplog):
    root = write_voc(tmp_path / "set")
    for name, box in (("a", (70, 1, 80, 9)), ("d", (5, 5, 5, 9))):
        corners = "".join(
            f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        thing = f"<object><name>dog</name><bndbox>{corners}</bndbox></object></annotation>"
        write_text(root / f"Annotations/{name}.xml", xml_of(name).replace("</annotation>", thing))
    with caplog.at_level(logging.INFO, "sppdet"):
        read_scenes(root, "train", classes=["dog"])
    assert re.search(
        r": 3 images \(1 without objects\), 2 objects of 1 class, "
        r"2 objects skipped \(1 box outside the image, 1 box no area\), 2 objects of other classes ignored \(cat 2\)$",
        caplog.messages[0],
    )
    assert sum((root / f"Annotations/{name}.xml").read_text().count("<object>") for name in "abd") == 2 + 2 + 2


def test_a_part_of_the_classes_is_read_and_a_wrong_one_refused(tmp_path, caplog):
    for root in (
        write_whole(tmp_path / "one", "xml beside"),
        write_whole(tmp_path / "two", "coco beside"),
        write_voc(tmp_path / "three"),
    ):
        dataset = read_scenes(root, classes=["dog"])
        assert dataset.classes == ("dog",)
        assert sum(len(image.labels) for image in dataset.images) > 0
        with pytest.raises(DataError, match=r"data\.classes: no such class in the data .*cat or dog, got cow"):
            read_scenes(root, classes=["cow"])
        with pytest.raises(DataError, match=r"unknown class .*cat, got dog"):  # a detector's classes ignore nothing
            read_dataset(DataConfig(root=str(root)), ("cat",))
        assert read_dataset(DataConfig(root=str(root), classes=["cat"]), ("cat",)).classes == ("cat",)
    assert not caplog.messages
    assert read_scenes(root, classes=["dog", "cow"]).classes == ("dog", "cow")
    assert "data.classes: no objects of class cow" in caplog.text


def test_class_names_may_be_numbers_or_words_of_yaml(tmp_path):
    root = write_whole(tmp_path, "yolo with yaml")
    write_text(root / "data.yaml", "names: [yes, 0]")
    assert read_scenes(root).classes == ("yes", "0")
    assert read_scenes(root, classes=[0]).classes == ("0",)


def test_all_problems_can_be_collected(tmp_path):
    root = write_voc(tmp_path)
    write_text(root / "Annotations/a.xml", "<annotation>")
    (root / "JPEGImages/b.png").unlink()
    write_text(root / "Annotations/d.xml", "<a><object/><object><name>cat</name><bndbox/></object></a>")
    problems = Problems(strict=False)
    dataset = read_dataset(DataConfig(root=str(root), split="train"), CLASSES, problems)
    assert stems(dataset) == "d"
    assert [Path(problem.file).name for problem in problems.found] == ["a.xml", "b.jpg", "d.xml", "d.xml"]
    assert {problem.severity for problem in problems.found} == {"error"}
    assert problems.found[2].field == "object[1]/name"


def test_warnings_of_a_kind_are_counted(tmp_path, caplog):
    root = write_whole(tmp_path, "xml beside")
    for i in range(8):
        write_image(root / f"x{i}.png")
    read_scenes(root, "train", split_fractions=(1.0, 0.0, 0.0))
    lines = [message for message in caplog.messages if "no annotation file" in message]
    assert len(lines) == 6
    assert re.search(r"x0\.png: no annotation file, taken as without objects", lines[0])
    assert lines[-1] == "no annotation file: 3 more"


def test_xml_of_other_names_belongs_to_the_image_that_it_names(tmp_path):
    root = write_whole(tmp_path, "xml beside")
    for name in "abcd":
        (root / f"{name}.xml").rename(root / f"label of {name}.xml")
    write_text(root / "unrelated.xml", "<annotation><filename>e.png</filename></annotation>")
    everything = {"split": "train", "split_fractions": (1.0, 0.0, 0.0)}
    dataset = read_scenes(root, **everything)
    assert stems(dataset) == "".join(SCENES)
    assert_scenes(dataset)


def test_a_list_of_another_name_is_of_all_images(tmp_path):
    root = write_voc(tmp_path)
    for part in ("train", "val", "trainval", "test"):
        (root / f"ImageSets/Main/{part}.txt").unlink()
    write_text(root / "ImageSets/Main/default.txt", "".join(f"{name}\n" for name in "abcde"))
    assert stems(read_scenes(root, "default")) == "abcde"
    assert sorted(stems(read_scenes(root, "trainval")) + stems(read_scenes(root, "test"))) == list("abcde")


def test_another_file_may_lack_categories_or_order_them_otherwise(tmp_path):
    root = write_parts(tmp_path, "coco")
    content = coco_of("e")
    content["categories"] = [{"id": 9, "name": "dog"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 9
    write_json(root / "annotations/instances_val2017.json", content)
    assert_scenes(read_dataset(DataConfig(root=str(root), split="val"), CLASSES))
    assert_scenes(read_scenes(root, "trainval"))
    content["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 1
    write_json(root / "annotations/instances_val2017.json", content)
    assert_scenes(read_dataset(DataConfig(root=str(root), split="val"), CLASSES))
    assert_scenes(read_scenes(root, "trainval"))


@pytest.mark.parametrize("layout", ["roboflow xml", "roboflow yolo"])
def test_images_of_no_split_are_counted(tmp_path, layout, caplog):
    root, kind = write_parts(tmp_path / "set", layout), "xml" if layout == "roboflow xml" else "txt"
    read_scenes(root, "train")
    assert not caplog.messages
    write_files(root, "more", "more", kind, "ab")
    assert stems(read_scenes(root, "train")) == PARTS["train"]
    assert caplog.messages == [f"{root}: 2 images in no split"]


def test_yaml_of_another_computer(tmp_path):
    root = write_parts(tmp_path / "set", "roboflow yolo")
    for place in ("train", "valid"):
        (tmp_path / place / "images").mkdir(parents=True)  # where ../train/images leads to
    write_text(root / "data.yaml", "path: C:\\me\ntrain: ../train/images\nval: /me/set/test/images\nnames: [cat, dog]")
    assert (stems(read_scenes(root, "train")), stems(read_scenes(root, "val"))) == (PARTS["train"], PARTS["test"])


def test_max_images_takes_the_first(tmp_path):
    assert stems(read_scenes(write_voc(tmp_path), max_images=2)) == "ab"
