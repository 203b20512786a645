from pathlib import Path

import pytest
from data_sets import CLASSES, LABELS, SCENES, write_cvat, write_image, write_text

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.errors import DataError


def read(root: Path, split: str):
    return read_dataset(DataConfig(root=str(root), split=split))


@pytest.mark.parametrize("meta", [True, False])
def test_boxes_and_subsets(tmp_path, meta):
    write_cvat(tmp_path, meta=meta)
    for split, names in (("train", "abcd"), ("test", "ef")):
        dataset = read(tmp_path, split)
        assert dataset.classes == CLASSES
        assert [image.id for image in dataset.images] == list(names)
        for image in dataset.images:
            rows = zip(image.labels.tolist(), image.boxes.tolist(), strict=True)
            assert [(CLASSES[label - 1], tuple(box)) for label, box in rows] == SCENES[image.id]


def test_labels_that_are_listed_twice_are_one_class(tmp_path):
    file = write_cvat(tmp_path) / "annotations.xml"
    file.write_text(file.read_text().replace("</labels>", "<label><name>cat</name></label></labels>"))
    assert read(tmp_path, "train").classes == CLASSES


def test_polygons_and_rotated_boxes(tmp_path):
    polygon = '<polygon label="dog" points="3.5,4;20,6;9,30.25"></polygon>'
    rotated = '<box label="cat" xtl="10" ytl="20" xbr="30" ybr="24" rotation="90.00"/>'
    image = read(write_cvat(tmp_path, polygon + rotated + '<points label="dog" points="1,2"/>'), "train").images[2]
    assert image.labels.tolist() == [1, 2]
    assert image.boxes[0].tolist() == pytest.approx([18, 12, 22, 32])
    assert image.boxes[1].tolist() == [3.5, 4, 20, 30.25]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ('<box label="cat" xtl="1" ytl="2" xbr="x" ybr="4"/>', r"image\[3\]/box\[1\]/xbr: not a number .*got x"),
        ('<box label="cat" xtl="1" ytl="2" xbr="3"/>', r"image\[3\]/box\[1\]/ybr: missing"),
        ('<box xtl="1" ytl="2" xbr="3" ybr="4"/>', r"image\[3\]/box\[1\]/label: missing"),
        ('<polygon label="cat" points="1,2;3"/>', r"image\[3\]/polygon\[1\]/points: not an outline"),
        ('<box label="cow" xtl="1" ytl="2" xbr="30" ybr="40"/>', r"image\[3\]/box\[1\]/label: unknown class .*got cow"),
    ],
)
def test_bad_shapes_name_file_and_field(tmp_path, shape, words):
    with pytest.raises(DataError, match=rf"annotations\.xml: {words}"):
        read(write_cvat(tmp_path, shape), "train")


def test_an_image_that_is_missing(tmp_path):
    (write_cvat(tmp_path) / "images/b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: image file not found, listed in .*annotations\.xml"):
        read(tmp_path, "train")


def test_images_that_differ_in_suffix_or_folder_have_their_own_ids(tmp_path):
    names = ("a.png", "a.jpg", "x\\b.png", "y\\b.png", "z\\c.png")
    for name in names:
        write_image(tmp_path / name.replace("\\", "/"))
    images = "".join(f'<image name="{name}"/>' for name in names)
    write_text(tmp_path / "annotations.xml", f"<annotations><meta>{LABELS}</meta>{images}</annotations>")
    config = DataConfig(root=str(tmp_path), split="train", split_fractions=(1.0, 0.0, 0.0))
    ids = {image.id: image.path for image in read_dataset(config).images}
    assert sorted(ids) == ["a.jpg", "a.png", "c", "x/b", "y/b"]
    assert ids["a.jpg"].name == "a.jpg"
