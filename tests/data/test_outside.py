"""Images and label files outside of the folder of the data are read on request only, in any format."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.coco import read_coco
from sppdet.data.formats.image_folder import read_image_folder
from sppdet.data.formats.voc import read_voc
from sppdet.errors import DataError
from sppdet.files.atomic import write_json

XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)


@pytest.fixture
def secret(tmp_path) -> Path:
    """An image and label files beside the folder of the data."""
    (tmp_path / "secret").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "secret/a.png")
    (tmp_path / "secret/a.xml").write_text(XML)
    (tmp_path / "secret/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return tmp_path / "secret"


def coco(root: Path, name: str) -> None:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}
    content = {"images": [{"id": 1, "file_name": name}], "annotations": [annotation]}
    write_json(root / "a.json", content | {"categories": [{"id": 1, "name": "cat"}]})


def voc(root: Path, secret: Path, linked: str) -> None:
    for part, name in (("JPEGImages", "a.png"), ("Annotations", "a.xml")):
        (root / part).mkdir()
        shutil.copy(secret / name, root / part)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    if linked in ("JPEGImages", "Annotations"):
        shutil.rmtree(root / linked)
        (root / linked).symlink_to(secret)
    else:
        (root / linked).unlink()
        (root / linked).symlink_to(secret / Path(linked).name)


def pair(label: str) -> Callable[[Path, Path], None]:
    def make(root: Path, secret: Path) -> None:
        shutil.copy(secret / label, root)
        (root / "a.png").symlink_to(secret / "a.png")

    return make


CASES: dict[str, Callable[[Path, Path], object]] = {
    "coco, upwards": lambda root, _: coco(root, "../secret/a.png"),
    "coco, absolute": lambda root, secret: coco(root, str(secret / "a.png")),
    "coco, linked": lambda root, secret: (coco(root, "a.png"), (root / "a.png").symlink_to(secret / "a.png")),
    "voc, linked images": lambda root, secret: voc(root, secret, "JPEGImages"),
    "voc, linked image": lambda root, secret: voc(root, secret, "JPEGImages/a.png"),
    "voc, linked annotations": lambda root, secret: voc(root, secret, "Annotations"),
    "xml, linked image": pair("a.xml"),
    "xml, linked folder": lambda root, secret: (root / "in").symlink_to(secret),
    "yolo, linked image": pair("a.txt"),
}


@pytest.mark.parametrize("case", CASES)
def test_in_every_format(tmp_path, secret, case):
    root = tmp_path / "data"
    root.mkdir()
    CASES[case](root, secret)
    config = DataConfig(str(root), "train", format=case.split(",")[0], split_fractions=(1.0, 0.0, 0.0))
    with pytest.raises(DataError, match=r"a\.\w+: lies outside .*--data\.allow_outside true"):
        read_dataset(config)
    (image,) = read_dataset(replace(config, allow_outside=True)).images
    assert image.read().shape == (3, 20, 20)
    if case == "coco, upwards":
        with pytest.raises(DataError, match="lies outside"):
            read_coco(root, root / "a.json")
        assert len(read_coco(root, root / "a.json", allow_outside=True)) == 1
    if case == "voc, linked images":
        with pytest.raises(DataError, match="lies outside"):
            read_voc(root, "train")
        assert len(read_voc(root, "train", allow_outside=True)) == 1


def test_links_inside_of_the_data_and_a_linked_root_are_followed(tmp_path, secret):
    (tmp_path / "data").mkdir()
    voc(tmp_path / "data", secret, "JPEGImages/a.png")
    shutil.move(secret, tmp_path / "data/images")
    (tmp_path / "data/JPEGImages/a.png").unlink()
    (tmp_path / "data/JPEGImages/a.png").symlink_to("../images/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(read_dataset(DataConfig(str(tmp_path / "link"), "train"))) == 1


def test_a_list_outside_that_a_yaml_file_names_is_not_read(tmp_path, secret):
    (tmp_path / "data").mkdir()
    for name in ("a.png", "a.txt"):
        shutil.copy(secret / name, tmp_path / "data")
    (secret / "list.txt").write_text("a.png\n")
    (tmp_path / "data/data.yaml").write_text("names: [cat]\ntrain: ../secret/list.txt\n")
    with pytest.raises(DataError, match=r"data\.yaml: train: names a list outside of its folder"):
        read_dataset(DataConfig(str(tmp_path / "data"), "train"))


def test_in_folders_of_classes(tmp_path, secret):
    (tmp_path / "data/cat").mkdir(parents=True)
    (tmp_path / "data/cat/a.png").symlink_to(secret / "a.png")
    with pytest.raises(DataError, match=r"cat/a\.png: lies outside .*--data\.allow_outside true"):
        read_image_folder(tmp_path / "data")
    assert len(read_image_folder(tmp_path / "data", allow_outside=True).files) == 1
