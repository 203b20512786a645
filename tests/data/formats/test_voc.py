import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from contracts import assert_dataset, raised
from PIL import Image

from sppdet.data.formats.voc import read_voc
from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


def make_object(name="cat", box=(11, 21, 50, 60), extra="<difficult>0</difficult>"):
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def write_image(folder: Path, name: str, *objects: str, size=(100, 80), suffix=".jpg") -> None:
    (folder / "JPEGImages" / f"{name}{suffix}").write_bytes(b"")
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{sides}{''.join(objects)}</annotation>")


def write_list(folder: Path, split: str, text: str) -> None:
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_bytes(text.encode())


def make_folder(folder: Path) -> Path:
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    write_image(folder, "a", make_object("dog"), make_object("cat", extra="<difficult>1</difficult>"))
    write_image(folder, "b", make_object("bird"))
    write_image(folder, "c")
    write_list(folder, "trainval", "a\nb\n")
    write_list(folder, "train", "a\n")
    write_list(folder, "test", "c\na\n")
    return folder


@pytest.fixture
def voc(tmp_path) -> Path:
    return make_folder(tmp_path / "VOCdevkit" / "VOC2007")


def test_reads_boxes_labels_and_difficult_also_of_images_without_objects(voc):
    dataset = read_voc(voc, "trainval")
    assert_dataset(dataset)
    assert dataset.name == "VOC2007 trainval"
    assert dataset.classes == ("bird", "cat", "dog")
    assert dataset.category_ids == (1, 2, 3)
    first, second = dataset.images
    assert (first.id, first.path) == ("a", voc / "JPEGImages" / "a.jpg")
    assert first.boxes.tolist() == [[10, 20, 50, 60]] * 2
    assert first.labels.tolist() == [3, 2]
    assert first.difficult.tolist() == [False, True]
    assert second.labels.tolist() == [1]
    empty = read_voc(voc, "test").images[0]
    assert (empty.id, empty.boxes.shape) == ("c", (0, 4))
    assert (empty.labels.dtype, empty.difficult.dtype) == (torch.int64, torch.bool)


def test_classes_are_those_given_or_those_of_trainval_or_of_every_annotation(voc):
    dataset = read_voc(voc, "train", classes=["dog", "cat"])
    assert dataset.classes == ("dog", "cat")
    assert dataset.images[0].labels.tolist() == [1, 2]
    assert read_voc(voc, "train").classes == read_voc(voc, "test").classes == ("bird", "cat", "dog")
    write_image(voc, "unlisted", make_object("ant"))
    (voc / "ImageSets/Main/trainval.txt").unlink()
    assert read_voc(voc, "train").classes == ("ant", "bird", "cat", "dog")


@pytest.mark.parametrize("text", ["b\r\na\r\n", "\n b  1\n\na -1\n\n", "b 0\na", "\ufeffb\na\n"])
def test_list_may_have_columns_blank_lines_and_carriage_returns(voc, text):
    write_list(voc, "mine", text)
    assert [image.id for image in read_voc(voc, "mine").images] == ["b", "a"]


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("a.jpg\nb.jpg 1\n", ["a", "b"]),
        ("/data/me/JPEGImages/a.jpg\nJPEGImages\\b.xml -1\n", ["a", "b"]),
        ("frame 0\nframe 1\n# by hand\n", ["frame 0", "frame 1"]),
        ("field (one) 0 1\n", ["field (one) 0"]),
    ],
)
def test_listed_names_may_have_folders_suffixes_and_blanks(voc, listed, names):
    for name in ("frame 0", "frame 1", "field (one) 0"):
        write_image(voc, name)
    write_list(voc, "mine", listed)
    assert [image.id for image in read_voc(voc, "mine").images] == names


def test_a_list_may_be_in_utf_16(voc):
    (voc / "ImageSets/Main/mine.txt").write_bytes("a\r\nb\r\n".encode("utf-16"))
    assert [image.id for image in read_voc(voc, "mine").images] == ["a", "b"]


def test_lists_of_single_classes_make_one(voc):
    for split in ("trainval", "train", "test"):
        (voc / f"ImageSets/Main/{split}.txt").unlink()
    write_list(voc, "cat_train", "a.jpg 1\nb.jpg -1\n")
    write_list(voc, "dog_train", "a.jpg 1\nc.jpg -1\n")
    write_list(voc, "dog_val", "c.jpg 1\n")
    assert [image.id for image in read_voc(voc, "train").images] == ["a", "b", "c"]
    assert [image.id for image in read_voc(voc, "val").images] == ["c"]


def test_a_listed_image_without_xml_has_no_objects(voc, caplog):
    (voc / "Annotations/b.xml").unlink()
    assert [len(image.labels) for image in read_voc(voc, "trainval").images] == [2, 0]
    assert caplog.messages == [f"{voc / 'JPEGImages/b.jpg'}: no annotation file, taken as without objects"]


def test_without_a_size_boxes_are_cut_to_the_image_file(voc, caplog):
    boxes = [(10, 10, 500, 400), (300, 300, 310, 310)]
    write_image(voc, "a", *(make_object(box=box) for box in boxes), size=None)
    Image.new("RGB", (100, 80)).save(voc / "JPEGImages/a.jpg")
    assert read_voc(voc, "train", classes=["cat"]).images[0].boxes.tolist() == [[9, 9, 100, 80]]
    assert "object[2]: box (299, 299, 310, 310) skipped: outside the image" in caplog.text


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".JPG", ".Tiff"])
def test_image_suffixes(voc, suffix):
    write_image(voc, "v1.5", make_object(), suffix=suffix)
    write_list(voc, "mine", "v1.5\n")
    assert read_voc(voc, "mine").images[0].path.name == f"v1.5{suffix}"


def test_float_text_missing_difficult_and_parts_inside_an_object(voc):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    write_image(voc, "a", make_object(box=("10.5", " 21 ", "5e1", "60.25"), extra=part))
    image = read_voc(voc, "train", classes=["cat"]).images[0]
    assert image.boxes.tolist() == [[9.5, 20, 50, 60.25]]
    assert image.difficult.tolist() == [False]


def test_unusable_boxes_are_skipped_and_reported_and_others_cut(voc, caplog):
    boxes = [(30, 30, 30, 30), (10, 10, 500, 20), (101, 1, 120, 9), (5, 5, 9, 5), ("nan", 1, 2, 3), (1, 1, 2, 2)]
    write_image(voc, "a", *(make_object(box=box) for box in boxes))
    image = read_voc(voc, "train", classes=["cat"]).images[0]
    assert image.boxes.tolist() == [[9, 9, 100, 20], [0, 0, 2, 2]]
    assert len(image.labels) == len(image.difficult) == 2
    fields = sorted(re.findall(r"object\[(\d)\]", "\n".join(caplog.messages)))
    assert (len(caplog.messages), fields) == (4, ["1", "3", "4", "5"])
    assert all(message.startswith(str(voc / "Annotations" / "a.xml")) for message in caplog.messages)


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_nothing_is_cut_where_the_size_is_unknown(voc, size):
    write_image(voc, "a", make_object(box=(10, 10, 500, 400)), size=size)
    assert read_voc(voc, "train", classes=["cat"]).images[0].boxes.tolist() == [[9, 9, 500, 400]]


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2007"])
@pytest.mark.usefixtures("voc")
def test_root_is_the_year_the_devkit_or_its_parent(root, tmp_path, monkeypatch):
    assert len(read_voc(tmp_path / root, "trainval", year="2007")) == 2
    monkeypatch.chdir(tmp_path / root)
    assert read_voc(".", "trainval", year="2007").name == "VOC2007 trainval"


def test_linked_folder_keeps_the_name_of_the_link(voc, tmp_path):
    os.symlink(voc, tmp_path / "VOC1999")
    assert read_voc(tmp_path / "VOC1999", "train", year="1999").name == "VOC1999 train"


def test_several_years_need_a_choice(voc):
    other = make_folder(voc.parent / "VOC2012")
    with pytest.raises(DataError, match=r"several.*VOC2007, .*VOC2012"):
        read_voc(voc.parent, "train")
    assert read_voc(voc.parent, "train", year="2012").images[0].path.is_relative_to(other)
    with pytest.raises(DataError, match=r"year.*VOC2007 or .*VOC2012, got 2010"):
        read_voc(voc.parent, "train", year="2010")


def fails(voc: Path, *words: str, split="train", classes=None) -> None:
    said = str(raised(DataError, read_voc, voc, split, classes))
    for word in words:
        assert word in said


def test_what_is_missing_is_named(voc, tmp_path):
    fails(tmp_path / "none", "none", "not found")
    fails(voc / "JPEGImages", "VOC layout")
    fails(voc, "vall.txt", "split", "test, train or trainval", split="vall")
    (voc / "JPEGImages" / "a.jpg").unlink()
    fails(voc, str(voc / "JPEGImages" / "a.jpg"), "not found")
    shutil.rmtree(voc / "Annotations")
    fails(voc, str(voc / "Annotations"), "not found")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no images"]),
        ("a\nghost\n", ["ghost.xml", "mine.txt"]),
        ("a\na\n", ["line 2", "twice"]),
        ("a b c\n", ["line 1", "a b c"]),
        ("a b\n", ["line 1", "a b"]),
    ],
)
def test_bad_lists(voc, text, words):
    write_list(voc, "mine", text)
    fails(voc, *words, split="mine")


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", ["not readable XML"]),
        ("<annotation><object>", ["not readable XML"]),
        ('<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>', ["not readable XML"]),
        ("<a><object><name>cat</name></object></a>", ["object[1]/bndbox", "missing"]),
        ("<a>" + make_object(name=" ") + "</a>", ["object[1]/name", "missing"]),
        ("<a>" + make_object() + make_object().replace("ymax", "z") + "</a>", ["object[2]/bndbox/ymax", "missing"]),
        ("<a>" + make_object(box=(1, 2, "", 4)) + "</a>", ["object[1]/bndbox/xmax", "missing"]),
        ("<a>" + make_object(box=(1, "two", 3, 4)) + "</a>", ["object[1]/bndbox/ymin", "number", "two"]),
        ("<a>" + make_object("cow") + "</a>", ["object[1]/name", "unknown class", "cat or dog", "cow"]),
    ],
)
def test_bad_annotations_name_file_and_field(voc, xml, words):
    (voc / "Annotations" / "a.xml").write_text(xml)
    fails(voc, str(voc / "Annotations" / "a.xml"), *words, classes=["cat", "dog"])


def test_trainval_has_the_classes_of_test_and_some_at_all(voc):
    write_image(voc, "c", make_object("cow"))
    fails(voc, "c.xml", "unknown class", "bird, cat or dog", "cow", split="test")
    write_image(voc, "c")
    write_list(voc, "trainval", "c\n")
    fails(voc, "trainval.txt", "no classes", split="test")
