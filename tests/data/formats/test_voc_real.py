"""VOC layout as it is published."""

import re

import defusedxml.ElementTree
import pytest
from contracts import assert_dataset

from sppdet.data.formats.voc import read_voc


@pytest.mark.shared
def test_real_voc_agrees_with_another_parser(shared):
    from torchvision.datasets import VOCDetection

    dataset = read_voc(shared / "voc", "trainval")
    assert (len(dataset), len(dataset.classes), dataset.classes[0]) == (782, 20, "aeroplane")
    assert_dataset(dataset)
    assert read_voc(shared / "voc", "test").classes == dataset.classes
    oracle = VOCDetection(str(shared / "voc"), year="2007", image_set="trainval")
    for image, path in zip(dataset.images, oracle.annotations, strict=True):
        objects = VOCDetection.parse_voc_xml(defusedxml.ElementTree.parse(path).getroot())["annotation"]["object"]
        corners = [[int(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")] for thing in objects]
        assert image.boxes.tolist() == [[x1 - 1, y1 - 1, x2, y2] for x1, y1, x2, y2 in corners]
        assert [dataset.classes[label - 1] for label in image.labels] == [thing["name"] for thing in objects]
        assert image.difficult.tolist() == [thing["difficult"] == "1" for thing in objects]


@pytest.mark.shared
def test_real_invalid_boxes_are_the_two_that_are_reported(shared, caplog):
    images = [image for split in ("trainval", "test") for image in read_voc(shared / "bccd", split).images]
    files = (shared / "bccd/VOCdevkit/BCCD/Annotations").glob("*.xml")
    assert sum(len(image.labels) for image in images) == sum(file.read_text().count("<object>") for file in files) - 2
    assert [re.findall(r"BloodImage_\d+\.xml", message) for message in caplog.messages] == [
        ["BloodImage_00338.xml"],
        ["BloodImage_00343.xml"],
    ]
