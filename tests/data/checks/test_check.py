"""Every kind of fault is found, with the file and the field it is in, all in one go."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from data_sets import coco_of, write_coco, write_files, write_image, write_parts, write_text, write_voc, xml_of
from PIL import Image

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import Check, check_data
from sppdet.data.problems import Problem

NO_LEAST_SIZE = ProposalConfig(min_side=0)


def check(root: Path, proposals: ProposalConfig = NO_LEAST_SIZE, **options) -> Check:
    return check_data(DataConfig(root=str(root), **options), proposals)


def found(checked: Check, kind: str) -> list[Problem]:
    return [problem for problem in checked.problems if problem.kind == kind]


def faults(checked: Check) -> list[Problem]:
    """All problems but those of the small set: its val has no cat, its test no dog."""
    return [problem for problem in checked.problems if problem.kind != "class without objects"]


def assert_only(checked: Check, kind: str, severity: str, file: Path, field: str | None, message: str = "") -> None:
    """There is one problem in the data."""
    (problem,) = faults(checked)
    assert problem[:4] == (str(file), field, kind, severity)
    assert message in problem.message


@pytest.fixture
def voc(tmp_path) -> Path:
    return write_voc(tmp_path / "voc")


def change(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


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


@pytest.mark.parametrize(
    ("size", "kind"), [((128, 96), "annotated size"), ((48, 64), "exchanged sides"), ((66, 48), "annotated size")]
)
def test_an_annotated_size_that_is_not_the_images(voc, size, kind):
    text = f"<width>{size[0]}</width><height>{size[1]}</height>"
    file = change(voc / "Annotations/a.xml", "<width>64</width><height>48</height>", text)
    message = f"(expected 64 x 48 of {voc / 'JPEGImages/a.png'}, got {size[0]} x {size[1]})"
    assert_only(check(voc), kind, "error", file, "size", message)


def test_a_size_may_be_rounded(voc):
    change(voc / "Annotations/a.xml", "<width>64</width><height>48</height>", "<width>65</width><height>47</height>")
    assert not faults(check(voc))


def test_boxes_of_the_stored_image(voc):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), "red").save(voc / "JPEGImages/a.jpg", exif=exif)
    (voc / "JPEGImages/a.png").unlink()
    file = voc / "Annotations/a.xml"
    assert_only(check(voc), "stored orientation", "error", file, "size", "expected 48 x 64")


def test_boxes_of_the_stored_image_without_a_size(voc):
    exif = Image.Exif()
    exif[0x0112] = 8
    for name in "ad":  # a box of a leaves the upright image, that of d does not
        Image.new("RGB", (64, 48), "red" if name == "a" else "blue").save(voc / f"JPEGImages/{name}.jpg", exif=exif)
        (voc / f"JPEGImages/{name}.png").unlink()
        change(voc / f"Annotations/{name}.xml", "<size><width>64</width><height>48</height></size>", "")
    file = voc / "Annotations/a.xml"
    assert_only(check(voc), "stored orientation", "error", file, None, "expected boxes in 48 x 64")


def test_the_size_in_coco_format(tmp_path):
    root, content = write_coco(tmp_path, "images", "all.json"), coco_of("abcdef")
    content["images"][3]["width"] = 128
    write_text(root / "all.json", json.dumps(content))
    assert_only(check(root), "annotated size", "error", root / "all.json", "images[3].width", "got 128 x 48")


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ("<xmin>80</xmin><ymin>3</ymin><xmax>90</xmax><ymax>32</ymax>", "box outside the image"),
        ("<xmin>21</xmin><ymin>3</ymin><xmax>2</xmax><ymax>32</ymax>", "box reversed"),
        ("<xmin>21</xmin><ymin>3</ymin><xmax>20</xmax><ymax>32</ymax>", "box no area"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>nan</xmax><ymax>32</ymax>", "box not finite"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>32</ymax>", "tiny box"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>80</xmax><ymax>32</ymax>", "box beyond the image"),
    ],
)
def test_boxes(voc, box, kind):
    file = change(voc / "Annotations/a.xml", "<xmin>2</xmin><ymin>3</ymin><xmax>21</xmax><ymax>32</ymax>", box)
    assert [problem[:4] for problem in faults(check(voc))] == [(str(file), "object[1]", kind, "warning")]


def test_doubled_boxes_are_of_one_class(voc):
    text = xml_of("a")
    thing = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    file = change(voc / "Annotations/a.xml", "</annotation>", thing + thing.replace("cat", "dog") + "</annotation>")
    assert_only(check(voc), "doubled box", "warning", file, "object[3]", "object[1]")


def test_objects_that_proposals_are_too_large_for(voc):
    checked = check(voc, ProposalConfig(width=32, min_side=10))
    fields = {(Path(problem.file).name, problem.field) for problem in found(checked, "small object")}
    assert fields == {("d.xml", "object[1]"), ("e.xml", "object[2]"), ("f.xml", "object[1]")}
    change(voc / "Annotations/d.xml", "<name>cat</name>", "<name>cat</name><difficult>1</difficult>")
    assert len(found(check(voc, ProposalConfig(width=32, min_side=10)), "small object")) == 2
    assert not faults(check(voc, ProposalConfig(file="others.json")))


def test_boxes_in_other_units(voc, tmp_path):
    text = "<xmin>0.1</xmin><ymin>0.1</ymin><xmax>0.5</xmax><ymax>0.5</ymax>"
    file = change(voc / "Annotations/b.xml", "<xmin>1</xmin><ymin>1</ymin><xmax>64</xmax><ymax>48</ymax>", text)
    checked = check(voc)
    assert_only(checked, "units", "error", file, "object[1]/bndbox", "fractions")
    assert len(checked.parts["train"]) == 2, "the image is left out"
    root, content = write_coco(tmp_path / "coco", "images", "all.json"), coco_of("abcdef")
    for record in content["annotations"]:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    write_text(root / "all.json", json.dumps(content))
    checked = check(root)
    assert [problem.kind for problem in faults(checked)] == ["units"]
    assert checked.problems[0].file == str(root / "all.json")
    assert checked.problems[0].field.startswith("annotations[")
    assert not any(checked.parts.values())


def test_files_that_are_missing_doubled_or_unreadable(voc):
    (voc / "JPEGImages/b.png").unlink()
    (voc / "Annotations/d.xml").write_text("<annotation>")
    (voc / "Annotations/f.xml").unlink()
    write_text(voc / "ImageSets/Main/test.txt", "c\nf\nc\ng\n")
    Image.effect_noise((64, 48), 90).convert("RGB").save(voc / "JPEGImages/e.jpg")
    (voc / "JPEGImages/e.png").unlink()
    data = (voc / "JPEGImages/e.jpg").read_bytes()
    (voc / "JPEGImages/e.jpg").write_bytes(data[: len(data) // 2])
    write_image(voc / "JPEGImages/new.png")
    write_text(voc / "Annotations/new.xml", xml_of("a"))
    write_text(voc / "Annotations/lost.xml", xml_of("a"))
    problems = {(Path(p.file).name, p.field, p.kind, p.severity) for p in faults(check(voc))}
    assert problems == {
        ("b.jpg", None, "unusable file", "error"),
        ("d.xml", None, "unusable file", "error"),
        ("f.png", None, "no annotation file", "warning"),
        ("test.txt", "line 3", "image listed twice", "error"),
        ("g.xml", None, "unusable file", "error"),
        ("e.jpg", None, "unreadable image", "error"),
        ("new.png", None, "image not used", "warning"),
        ("lost.xml", None, "annotation without an image", "warning"),
    }


def test_files_that_belong_to_nothing_in_yolo_format(tmp_path):
    root = write_files(tmp_path, "images", "labels", "txt")
    write_text(root / "labels/classes.txt", "cat\ndog\n")
    write_text(root / "labels/lost.txt", "0 0.5 0.5 0.1 0.1\n")
    checked = check(root)
    (problem,) = found(checked, "annotation without an image")
    assert problem.file == str(root / "labels/lost.txt")
    assert faults(checked) == [problem]


def test_an_unreadable_annotation_file_is_one_of_the_problems(tmp_path):
    root = write_parts(tmp_path, "coco")
    file = root / "annotations/instances_val2017.json"
    file.write_text('{"images": [], "annotations": [')
    checked = check(root)
    assert found(checked, "unusable file")[0].file == str(file)
    assert list(map(len, checked.parts.values())) == [3, 0, 2]


def test_one_image_in_two_splits_or_under_two_ids(voc):
    shutil.copy(voc / "JPEGImages/a.png", voc / "JPEGImages/c.png")
    shutil.copy(voc / "JPEGImages/b.png", voc / "JPEGImages/d.png")
    shutil.copy(voc / "Annotations/b.xml", voc / "Annotations/d.xml")
    images = voc / "JPEGImages"
    twice, across = sorted(
        (p for p in check(voc).problems if "class" not in p.kind), key=lambda p: p.kind, reverse=True
    )
    assert twice[:4] == (str(images / "d.png"), "id d, train", "image twice", "warning")
    assert twice.message == f"is the same image as {images / 'b.png'} (id b, train)"
    assert across[:4] == (str(images / "c.png"), "id c, test", "image in two splits", "warning")
    assert across.message == f"is the same image as {images / 'a.png'} (id a, train), annotated differently"


def test_one_name_in_two_lists_is_found_but_not_in_trainval(voc):
    write_text(voc / "ImageSets/Main/test.txt", "c\nf\na\n")
    assert_only(check(voc), "image in two splits", "warning", voc / "JPEGImages/a.png", "id a, test")


def test_one_file_under_two_ids_in_coco_format(tmp_path):
    root, content = write_coco(tmp_path, "images", "all.json"), coco_of("abcdef")
    content["images"].append({**content["images"][1], "id": 77})
    write_text(root / "all.json", json.dumps(content))
    (problem,) = [p for p in check(root).problems if p.kind in ("image twice", "image in two splits")]
    assert problem.file == str(root / "images/b.png")
    assert problem.field.startswith("id 77, ")


def test_class_names_that_differ_in_case_or_blanks(voc):
    file = change(voc / "Annotations/d.xml", "<name>cat</name>", "<name>C at</name>")
    (problem,) = found(check(voc), "class names alike")
    assert problem[:4] == (str(file), "object[1]/name", "class names alike", "warning")
    assert problem.message == 'classes "C at" (1 objects) and "cat" (2 objects) differ in case or blanks only'
    assert not found(check(voc, classes=["C at", "cat", "dog"]), "class names alike"), "they are meant"


def test_classes_without_objects_in_a_split(voc):
    change(voc / "Annotations/f.xml", "<name>cat</name>", "<name>cat</name><difficult>1</difficult>")
    change(voc / "Annotations/e.xml", "<name>dog</name>", "<name>cat</name>")
    fields = [(problem.field, problem.message) for problem in found(check(voc), "class without objects")]
    assert fields == [
        ("test", "class cat has no objects, except difficult ones, in test"),
        ("val, test", "class dog has no objects, except difficult ones, in val, test"),
    ]


def test_unknown_classes_and_classes_that_are_left_out(voc):
    file = change(voc / "Annotations/f.xml", "<name>cat</name>", "<name>bird</name>")
    (problem,) = found(check(voc), "unknown class")
    assert problem[:4] == (str(file), "object[1]/name", "unknown class", "error")
    assert not [problem for problem in check(voc, classes=["cat"]).problems if problem.severity == "error"]


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
