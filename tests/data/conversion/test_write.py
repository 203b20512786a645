"""Files of a converted set: their contents, names and places, and what a format cannot hold."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from data_sets import (
    PARTS,
    SCENES,
    coco_of,
    convert,
    write_coco,
    write_image,
    write_parts,
    write_text,
    write_voc,
    write_whole,
)
from PIL import Image

from sppdet.config.data import DataConfig
from sppdet.data.conversion.convert import convert_dataset
from sppdet.data.conversion.write import _add
from sppdet.data.dataset import read_dataset
from sppdet.errors import DataError, ImageError
from sppdet.files.atomic import read_json, write_json

LAYOUTS = ["roboflow xml", "xml by kind", "roboflow coco", "coco", "roboflow yolo", "yolo lists"]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("target", ["voc", "coco", "yolo"])
@pytest.mark.parametrize("layout", ["voc", *LAYOUTS])
def test_boxes_and_splits_of_all_layouts_are_kept(tmp_path, layout, target, caplog):
    root = write_voc(tmp_path / "set") if layout == "voc" else write_parts(tmp_path / "set", layout)
    done = convert(root, target)
    assert (done.renamed, done.left_out) == (0, 0)
    for split, names in {**PARTS, "trainval": PARTS["train"] + PARTS["val"]}.items():
        dataset = read_dataset(DataConfig(root=str(tmp_path / target), split=split))
        assert "".join(image.path.stem for image in dataset.images) == names
        for image in dataset.images:
            rows = zip(image.labels.tolist(), image.boxes.tolist(), strict=True)
            assert [(dataset.classes[label - 1], tuple(box)) for label, box in rows] == SCENES[image.path.stem]
    assert not caplog.messages


@pytest.mark.parametrize("target", ["voc", "coco", "yolo"])
def test_a_copy_of_data_without_splits_is_divided_as_they_are(tmp_path, target, caplog):
    caplog.set_level("INFO", "sppdet")
    root = write_whole(tmp_path / "set", "xml beside")
    (split,) = convert(root, target).parts
    message = f"the copy has {split}; a training divides it by seed, in the same way as the data"
    assert caplog.messages[-1] == f"no train, val and test in the data: {message}"
    for part in ("train", "val", "test"):
        one, other = (read_dataset(DataConfig(root=str(folder), split=part)) for folder in (root, tmp_path / target))
        assert {image.path.name for image in one.images} == {image.path.name for image in other.images}


def test_files_of_voc_layout(tmp_path):
    content = coco_of("ac")
    content["annotations"][1] |= {"bbox": [30.25, 5, 20, 1.5], "iscrowd": 1}
    root = write_coco(tmp_path / "set", "", "labels.json", "ac")
    write_json(root / "labels.json", content)
    convert(root, "voc")
    images, xmls = (
        {f"{folder}/{name}.{kind}" for name in "ac"} for folder, kind in (("JPEGImages", "png"), ("Annotations", "xml"))
    )
    assert files_of(tmp_path / "voc") == {*images, *xmls, "ImageSets/Main/default.txt", "coco_ids.json"}
    assert (tmp_path / "voc/ImageSets/Main/default.txt").read_text() == "a\nc\n"
    assert (tmp_path / "voc/Annotations/a.xml").read_text().split() == [
        *("<annotation>", "<filename>a.png</filename>"),
        *("<size>", "<width>64</width>", "<height>48</height>", "<depth>3</depth>", "</size>"),
        *("<object>", "<name>cat</name>", "<difficult>0</difficult>"),
        *(
            "<bndbox>",
            "<xmin>2</xmin>",
            "<ymin>3</ymin>",
            "<xmax>21</xmax>",
            "<ymax>32</ymax>",
            "</bndbox>",
            "</object>",
        ),
        *("<object>", "<name>dog</name>", "<difficult>1</difficult>"),
        *("<bndbox>", "<xmin>31.25</xmin>", "<ymin>6</ymin>", "<xmax>50.25</xmax>", "<ymax>6.5</ymax>", "</bndbox>"),
        *("</object>", "</annotation>"),
    ]
    ids = {"category_ids": {"cat": 1, "dog": 2}, "image_ids": {"JPEGImages/a.png": 0, "JPEGImages/c.png": 1}}
    assert read_json(tmp_path / "voc/coco_ids.json") == ids


def test_files_of_coco_format(tmp_path):
    root = write_voc(tmp_path / "set")
    (root / "ImageSets/Main/test.txt").write_text("a\n")
    xml = root / "Annotations/a.xml"
    xml.write_text(xml.read_text().replace("</name>", "</name><difficult>1</difficult>", 1).replace("21<", "21.1<"))
    convert(root, "coco")
    assert files_of(tmp_path / "coco") >= {"train/a.png", "val/e.png", "test/a.png"}
    content = read_json(tmp_path / "coco/annotations/instances_test.json")
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}]
    things = [
        {"bbox": [1, 2, 20.1, 30], "area": 603, "iscrowd": 1},
        {"bbox": [30, 5, 30, 35], "area": 1050, "iscrowd": 0},
    ]
    assert content["annotations"] == [
        {"id": k, "image_id": 1, "category_id": k, **thing} for k, thing in enumerate(things, 1)
    ]
    assert content["categories"] == [
        {"id": k, "name": name, "supercategory": ""} for k, name in ((1, "cat"), (2, "dog"))
    ]


def test_files_of_yolo_format(tmp_path):
    convert(write_voc(tmp_path / "set"), "yolo")
    kinds = {f"images/{part}/{name}.png" for part, names in PARTS.items() for name in names}
    labels = {f"labels/{part}/{name}.txt" for part, names in PARTS.items() for name in names}
    assert files_of(tmp_path / "yolo") == {*kinds, *labels, "data.yaml"}
    assert (tmp_path / "yolo/labels/train/a.txt").read_text().splitlines() == [
        "0 0.171875 0.354166667 0.3125 0.625",
        "1 0.703125 0.46875 0.46875 0.729166667",
    ]
    assert (tmp_path / "yolo/labels/test/c.txt").read_text() == ""
    places = "train: images/train\nval: images/val\ntest: images/test\n"
    assert (tmp_path / "yolo/data.yaml").read_text() == f"{places}nc: 2\nnames:\n- cat\n- dog\n"


def test_what_is_not_held_is_counted(tmp_path, caplog):
    content = coco_of("ab")
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["bbox"] = [3, 3, 1, 9]
    root = write_coco(tmp_path / "set", "", "labels.json", "ab")
    write_json(root / "labels.json", content)
    assert [convert(root, target).left_out for target in ("coco", "voc", "yolo")] == [0, 0, 1]
    assert caplog.messages == [
        f"{root}: 1 box with a side of a pixel or less, skipped where VOC XML is read",
        f"{root}: 1 difficult object left out: YOLO format cannot mark them",
    ]
    assert "<xmax>4</xmax>" in (tmp_path / "voc/Annotations/a.xml").read_text()


def test_images_of_one_name_get_others(tmp_path, caplog):
    root = write_parts(tmp_path / "set", "roboflow coco")
    for part, old, new in (("valid", "e", "A"), ("test", "c", "b")):
        (root / part / f"{old}.png").rename(root / part / f"{new}.png")
        file = root / part / "_annotations.coco.json"
        file.write_text(file.read_text().replace(f"{old}.png", f"{new}.png"))
    assert [convert(root, target).renamed for target in ("coco", "yolo", "voc")] == [0, 0, 3]
    names = {"a.png", "train_b.png", "d.png", "A-2.png", "test_b.png", "f.png"}
    assert set(os.listdir(tmp_path / "voc/JPEGImages")) == names
    assert caplog.messages == [f"{tmp_path / 'voc'}: 3 images renamed, such as b.png: train_b"]


def test_links_are_made_or_refused(tmp_path, monkeypatch):
    root = write_voc(tmp_path / "set")
    convert(root, "voc", link=True)
    assert os.path.samefile(root / "JPEGImages/a.png", tmp_path / "voc/JPEGImages/a.png")

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DataError, match=r"a\.png: cannot be linked \(Invalid cross-device link\); --images copy"):
        convert(root, "coco", link=True)
    assert set(os.listdir(tmp_path)) == {"set", "voc"}


def test_nothing_is_overwritten_nor_left_half_written(tmp_path):
    root = write_voc(tmp_path / "set")
    write_text(tmp_path / "coco/note", "mine")
    with pytest.raises(DataError, match=r"coco: holds other files"):
        convert(root, "coco")
    assert files_of(tmp_path / "coco") == {"note"}
    with pytest.raises(DataError, match=r"inside: lies in the folder of the data"):
        convert_dataset(DataConfig(root=str(root)), "voc", root / "inside")
    (root / "JPEGImages/f.png").write_bytes(b"")
    (tmp_path / "yolo").mkdir()
    with pytest.raises(ImageError, match=r"f\.png: cannot be decoded"):
        convert(root, "yolo")
    assert set(os.listdir(tmp_path)) == {"set", "coco", "yolo"}
    assert not files_of(tmp_path / "yolo")
    write_image(root / "JPEGImages/f.png")
    convert(root, "yolo")
    assert files_of(root) & files_of(tmp_path / "yolo") == set()


def test_sizes_are_those_of_the_upright_image(tmp_path):
    root, exif = write_whole(tmp_path / "set", "coco beside"), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(root / "a.png", exif=exif)
    content = coco_of("a")
    content["images"][0] |= {"width": 48, "height": 64}
    content["annotations"] = [content["annotations"][0] | {"bbox": [1, 2, 20, 60]}]
    write_json(root / "labels.json", content)
    convert(root, "yolo")
    convert(tmp_path / "yolo", "voc")
    xml = (tmp_path / "voc/Annotations/a.xml").read_text()
    assert "<width>48</width>" in xml
    assert "<ymax>62</ymax>" in xml


def test_an_image_without_a_suffix_of_one_is_refused(tmp_path):
    root = write_coco(tmp_path / "set", "", "labels.json", "a")
    (root / "a.png").rename(root / "a.data")
    write_text(root / "labels.json", (root / "labels.json").read_text().replace("a.png", "a.data"))
    with pytest.raises(DataError, match=r"a\.data: has no suffix of an image"):
        convert(root, "voc")


def test_characters_that_xml_cannot_hold_are_escaped():
    _add(root := ElementTree.Element("object"), "name", "a\x1b\x00\ud800\uffff ü\u200f")
    text = ElementTree.tostring(root, encoding="unicode")
    assert ElementTree.fromstring(text.encode()).findtext("name") == r"a\x1b\x00\ud800\uffff ü" + "\u200f"
