"""The format of a folder is found, whatever lies next to the data."""

from dataclasses import replace

import pytest
from data_sets import (
    PARTS,
    assert_scenes,
    read_scenes,
    stems,
    write_coco,
    write_image,
    write_parts,
    write_text,
    write_whole,
)

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.errors import ConfigError, DataError


def test_a_format_can_be_forced(tmp_path):
    root = write_whole(write_whole(tmp_path, "xml beside"), "yolo beside")
    assert [read_scenes(root, format=name).images[0].id for name in ("xml", "yolo")] == ["a", "a"]
    with pytest.raises(DataError, match=r"no annotations found \(expected coco: JSON .*got 6 images"):
        read_scenes(root, format="coco")
    with pytest.raises(DataError, match=r"is not in VOC layout"):
        read_scenes(root, format="voc")


def test_nothing_that_is_known_is_said_with_what_is(tmp_path):
    write_image(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no annotations found .*voc: folders JPEGImages.*yolo.*xml.*got 1 image"):
        read_scenes(tmp_path)
    with pytest.raises(DataError, match="nowhere: folder not found"):
        read_scenes(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"data\.root: no data given"):
        read_dataset(DataConfig())


def test_hidden_files_and_unpacked_archives_are_looked_through(tmp_path):
    root = write_parts(tmp_path / "download" / "set", "roboflow xml")
    for hidden in ("train/._a.xml", "train/.ipynb_checkpoints/a-checkpoint.xml", "__MACOSX/train/._a.xml"):
        write_text(root / hidden, "\0")
        write_image((root / hidden).with_suffix(".png"))
    write_image(tmp_path / "download/__MACOSX/JPEGImages/._a.png")
    assert stems(read_scenes(tmp_path / "download", "train")) == PARTS["train"]


def test_a_file_of_the_data_stands_for_its_folder(tmp_path):
    assert_scenes(read_scenes(write_whole(tmp_path / "one", "yolo with yaml") / "data.yaml"))
    assert_scenes(read_scenes(write_whole(tmp_path / "two", "coco beside") / "labels.json"))


def test_a_folder_named_like_an_annotation_file_is_none(tmp_path):
    (write_coco(tmp_path, "images", "one.json", "abc") / "two.json").mkdir()
    assert stems(read_scenes(tmp_path)) == "abc"


def test_annotations_name_one_file_that_is_read_whole(tmp_path):
    root = write_coco(write_coco(tmp_path, "images", "one.json", "abc"), "images", "two.json", "def")
    config = DataConfig(root=str(root / "images"), annotations=str(root / "two.json"))
    assert stems(read_dataset(config)) == "def"
    assert read_dataset(config).name == "two"
    with pytest.raises(DataError, match=r"several annotation files.*one\.json, two\.json"):
        read_dataset(replace(config, root=str(root), annotations=None))


@pytest.mark.shared
def test_raccoons_as_they_lie(shared):
    parts = [read_scenes(shared / "raccoon", split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [56, 12, 12]
    files = list((shared / "raccoon/annotations").glob("*.xml"))
    objects = sum(len(image.labels) for part in parts for image in part.images)
    assert objects == sum(file.read_text().count("<object>") for file in files)
    assert {part.classes for part in parts} == {("raccoon",)}
