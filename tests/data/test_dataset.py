"""Reading whatever a folder holds: the format is found, and the same images and boxes come of all."""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from contracts import assert_dataset
from data_sets import (
    CLASSES,
    PARTS,
    SCENES,
    coco_of,
    write_coco,
    write_files,
    write_image,
    write_parts,
    write_text,
    write_voc,
    write_whole as write,
    xml_of,
)

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset, record_division
from sppdet.data.problems import Problems
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import read_json, write_json
from sppdet.structures import Dataset

WITH_PARTS = [
    *("roboflow xml", "xml by kind", "roboflow coco", "coco", "coco images by part"),
    *("roboflow yolo", "yolo", "yolo lists"),
]
WHOLE = [
    *("voc without lists", "xml beside", "xml in folders of other names", "coco beside", "coco"),
    *("yolo beside", "yolo", "yolo with yaml"),
]


def read(root: Path, split: str = "trainval", **options) -> Dataset:
    dataset = read_dataset(DataConfig(root=str(root), split=split, **options))
    assert_dataset(dataset)
    return dataset


def names(dataset: Dataset) -> str:
    return "".join(image.path.stem for image in dataset.images)


def assert_scenes(dataset: Dataset) -> None:
    """The boxes and classes of each image are those that were written, and its file is there."""
    assert dataset.classes == CLASSES
    for image in dataset.images:
        assert image.path.is_file()
        found = [
            (dataset.classes[label - 1], tuple(box))
            for label, box in zip(image.labels, image.boxes.tolist(), strict=True)
        ]
        assert found == SCENES[image.path.stem]


@pytest.mark.parametrize("layout", ["voc", *WITH_PARTS])
def test_the_parts_of_a_layout_are_its_splits(tmp_path, layout):
    root = write_voc(tmp_path / "set") if layout == "voc" else write_parts(tmp_path / "set", layout)
    splits = {**PARTS, "trainval": PARTS["train"] + PARTS["val"], "valid": PARTS["val"], "training": PARTS["train"]}
    for split, expected in splits.items():
        dataset = read(root, split)
        assert names(dataset) == expected
        assert_scenes(dataset)
    with pytest.raises(DataError, match=r"split: no such split .*test.*got extra") as caught:
        read(root, "extra")
    assert caught.value.field == "split"


@pytest.mark.parametrize("layout", WHOLE)
def test_a_set_without_parts_is_divided_alike_in_all_layouts(tmp_path, layout):
    expected = {split: names(read(write(tmp_path / "first", WHOLE[0]), split)) for split in ("train", "val", "test")}
    root = write(tmp_path / "set", layout)
    for split in ("train", "val", "test", "trainval"):
        dataset = read(root, split)
        assert names(dataset) == expected.get(split, "".join(sorted(expected["train"] + expected["val"])))
        assert_scenes(dataset)
    assert sorted("".join(expected.values())) == sorted(SCENES)


def test_one_line_says_what_was_found_and_how_it_was_split(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        read(write_voc(tmp_path / "voc"), "test")
        read(write(tmp_path / "set", "yolo"), "trainval", classes=["dog"])
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
        read(root, "train", classes=["dog"])
    assert re.search(
        r": 3 images \(1 without objects\), 2 objects of 1 class, 2 objects skipped, "
        r"2 objects of other classes ignored \(cat 2\)$",
        caplog.messages[0],
    )
    assert sum((root / f"Annotations/{name}.xml").read_text().count("<object>") for name in "abd") == 2 + 2 + 2


def test_a_lone_part_to_train_on_is_divided_too(tmp_path):
    for layout in ("roboflow xml", "roboflow coco", "roboflow yolo"):
        root = write_parts(tmp_path / layout, layout)
        shutil.rmtree(root / "valid")
        shutil.rmtree(root / "test")
        assert sorted(names(read(root, "trainval")) + names(read(root, "test"))) == sorted(PARTS["train"])


def test_seed_and_fractions_make_another_division(tmp_path):
    root = write(tmp_path, "xml beside")
    assert names(read(root, "train", split_fractions=(1.0, 0.0, 0.0))) == "".join(SCENES)
    with pytest.raises(DataError, match=r"split: no such split \(expected one of train, trainval, got val\)"):
        read(root, "val", split_fractions=(1.0, 0.0, 0.0))
    assert len({names(read(root, "train", split_seed=seed)) for seed in range(9)}) > 1
    with pytest.raises(ConfigError, match=r"data\.split_fractions: .*add up to 1"):
        DataConfig(split_fractions=(0.5, 0.1, 0.1))


def test_a_division_is_written_down_and_used_again(tmp_path, caplog):
    config = DataConfig(root=str(write(tmp_path / "set", "xml beside")), split="test")
    recorded = record_division(config, tmp_path / "split.json")
    content = read_json(tmp_path / "split.json")
    assert (content["seed"], content["fractions"]) == (0, [0.7, 0.15, 0.15])
    assert sorted(content["train"] + content["val"] + content["test"]) == sorted(SCENES)
    assert names(read_dataset(recorded)) == names(read_dataset(config)) == "".join(content["test"])
    assert not caplog.messages
    write_files(tmp_path / "set", "", "", "xml", ["a"])
    for new in ("x", "y"):
        write_image(tmp_path / f"set/{new}.png")
    (tmp_path / f"set/{content['train'][0]}.png").unlink()
    assert names(read_dataset(recorded)) == "".join(content["test"])
    said = "\n".join(caplog.messages)
    assert "split.json: 2 images not in the split" in said
    assert "split.json: 1 image missing" in said
    write_json(tmp_path / "split.json", {"train": ["a"]})
    with pytest.raises(DataError, match=r"split\.json: not a split"):
        read_dataset(recorded)


def test_data_with_parts_are_not_divided(tmp_path):
    config = DataConfig(root=str(write_voc(tmp_path / "set")))
    assert record_division(config, tmp_path / "split.json") == config
    assert not (tmp_path / "split.json").exists()


def test_a_format_can_be_forced(tmp_path):
    root = write(write(tmp_path, "xml beside"), "yolo beside")
    assert [read(root, format=name).images[0].id for name in ("xml", "yolo")] == ["a", "a"]
    with pytest.raises(DataError, match=r"no annotations found \(expected coco: JSON .*got 6 images"):
        read(root, format="coco")
    with pytest.raises(DataError, match=r"is not in VOC layout"):
        read(root, format="voc")


def test_nothing_that_is_known_is_said_with_what_is(tmp_path):
    write_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no annotations found .*voc: folders JPEGImages.*yolo.*xml.*got 1 image"):
        read(tmp_path)
    with pytest.raises(DataError, match="nowhere: folder not found"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"data\.root: no data given"):
        read_dataset(DataConfig())


def test_hidden_files_and_unpacked_archives_are_looked_through(tmp_path):
    root = write_parts(tmp_path / "download" / "set", "roboflow xml")
    for hidden in ("train/._a.xml", "train/.ipynb_checkpoints/a-checkpoint.xml", "__MACOSX/train/._a.xml"):
        write_text(root / hidden, "\0")
        write_image((root / hidden).with_suffix(".png"))
    write_image(tmp_path / "download/__MACOSX/JPEGImages/._a.png")
    assert names(read(tmp_path / "download", "train")) == PARTS["train"]


def test_a_part_of_the_classes_is_read_and_a_wrong_one_refused(tmp_path, caplog):
    for root in (
        write(tmp_path / "one", "xml beside"),
        write(tmp_path / "two", "coco beside"),
        write_voc(tmp_path / "three"),
    ):
        dataset = read(root, classes=["dog"])
        assert dataset.classes == ("dog",)
        assert sum(len(image.labels) for image in dataset.images) > 0
        with pytest.raises(DataError, match=r"data\.classes: no such class in the data .*cat, dog, got cow"):
            read(root, classes=["cow"])
        with pytest.raises(DataError, match=r"unknown class .*cat, got dog"):  # a detector's classes ignore nothing
            read_dataset(DataConfig(root=str(root)), ("cat",))
        assert read_dataset(DataConfig(root=str(root), classes=["cat"]), ("cat",)).classes == ("cat",)
    assert not caplog.messages
    assert read(root, classes=["dog", "cow"]).classes == ("dog", "cow")
    assert "data.classes: no objects of class cow" in caplog.text


def test_class_names_may_be_numbers_or_words_of_yaml(tmp_path):
    root = write(tmp_path, "yolo with yaml")
    write_text(root / "data.yaml", "names: [yes, 0]")
    assert read(root).classes == ("yes", "0")
    assert read(root, classes=[0]).classes == ("0",)


def test_all_problems_can_be_collected(tmp_path):
    root = write_voc(tmp_path)
    write_text(root / "Annotations/a.xml", "<annotation>")
    (root / "JPEGImages/b.png").unlink()
    write_text(root / "Annotations/d.xml", "<a><object/><object><name>cat</name><bndbox/></object></a>")
    problems = Problems(strict=False)
    dataset = read_dataset(DataConfig(root=str(root), split="train"), CLASSES, problems)
    assert names(dataset) == "d"
    assert [Path(problem.file).name for problem in problems.found] == ["a.xml", "b.jpg", "d.xml", "d.xml"]
    assert {problem.severity for problem in problems.found} == {"error"}
    assert problems.found[2].field == "object[1]/name"


def test_warnings_of_a_kind_are_counted(tmp_path, caplog):
    root = write(tmp_path, "xml beside")
    for i in range(8):
        write_image(root / f"x{i}.png")
    read(root, "train", split_fractions=(1.0, 0.0, 0.0))
    lines = [message for message in caplog.messages if "no annotation file" in message]
    assert len(lines) == 6
    assert re.search(r"x0\.png: no annotation file, taken as without objects", lines[0])
    assert lines[-1] == "no annotation file: 3 more"


def test_a_file_of_the_data_stands_for_its_folder(tmp_path):
    assert_scenes(read(write(tmp_path / "one", "yolo with yaml") / "data.yaml"))
    assert_scenes(read(write(tmp_path / "two", "coco beside") / "labels.json"))


def test_xml_of_other_names_belongs_to_the_image_that_it_names(tmp_path):
    root = write(tmp_path, "xml beside")
    for name in "abcd":
        (root / f"{name}.xml").rename(root / f"label of {name}.xml")
    write_text(root / "unrelated.xml", "<annotation><filename>e.png</filename></annotation>")
    everything = {"split": "train", "split_fractions": (1.0, 0.0, 0.0)}
    dataset = read(root, **everything)
    assert names(dataset) == "".join(SCENES)
    assert_scenes(dataset)


def test_a_list_of_another_name_is_of_all_images(tmp_path):
    root = write_voc(tmp_path)
    for part in ("train", "val", "trainval", "test"):
        (root / f"ImageSets/Main/{part}.txt").unlink()
    write_text(root / "ImageSets/Main/default.txt", "".join(f"{name}\n" for name in "abcde"))
    assert names(read(root, "default")) == "abcde"
    assert sorted(names(read(root, "trainval")) + names(read(root, "test"))) == list("abcde")


def test_another_file_may_lack_categories_or_order_them_otherwise(tmp_path):
    root = write_parts(tmp_path, "coco")
    content = coco_of("e")
    content["categories"] = [{"id": 9, "name": "dog"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 9
    write_json(root / "annotations/instances_val2017.json", content)
    assert_scenes(read_dataset(DataConfig(root=str(root), split="val"), CLASSES))
    assert_scenes(read(root, "trainval"))
    content["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 1
    write_json(root / "annotations/instances_val2017.json", content)
    assert_scenes(read_dataset(DataConfig(root=str(root), split="val"), CLASSES))
    assert_scenes(read(root, "trainval"))


@pytest.mark.parametrize("layout", ["roboflow xml", "roboflow yolo"])
def test_images_of_no_split_are_counted(tmp_path, layout, caplog):
    root, kind = write_parts(tmp_path / "set", layout), "xml" if layout == "roboflow xml" else "txt"
    read(root, "train")
    assert not caplog.messages
    write_files(root, "more", "more", kind, "ab")
    assert names(read(root, "train")) == PARTS["train"]
    assert caplog.messages == [f"{root}: 2 images in no split"]


def test_yaml_of_another_computer(tmp_path):
    root = write_parts(tmp_path / "set", "roboflow yolo")
    for place in ("train", "valid"):
        (tmp_path / place / "images").mkdir(parents=True)  # where ../train/images leads to
    write_text(root / "data.yaml", "path: C:\\me\ntrain: ../train/images\nval: /me/set/test/images\nnames: [cat, dog]")
    assert (names(read(root, "train")), names(read(root, "val"))) == (PARTS["train"], PARTS["test"])


def test_max_images_takes_the_first(tmp_path):
    assert names(read(write_voc(tmp_path), max_images=2)) == "ab"


def test_annotations_name_one_file_that_is_read_whole(tmp_path):
    root = write_coco(write_coco(tmp_path, "images", "one.json", "abc"), "images", "two.json", "def")
    config = DataConfig(root=str(root / "images"), annotations=str(root / "two.json"))
    assert names(read_dataset(config)) == "def"
    assert read_dataset(config).name == "two"
    with pytest.raises(DataError, match=r"several annotation files.*one\.json, two\.json"):
        read_dataset(replace(config, root=str(root), annotations=None))


def test_a_folder_named_like_an_annotation_file_is_none(tmp_path):
    (write_coco(tmp_path, "images", "one.json", "abc") / "two.json").mkdir()
    assert names(read(tmp_path)) == "abc"


@pytest.mark.shared
def test_raccoons_as_they_lie(shared):
    parts = [read(shared / "raccoon", split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [56, 12, 12]
    files = list((shared / "raccoon/annotations").glob("*.xml"))
    objects = sum(len(image.labels) for part in parts for image in part.images)
    assert objects == sum(file.read_text().count("<object>") for file in files)
    assert {part.classes for part in parts} == {("raccoon",)}
