"""Numbers and masks in annotation files that are not what they seem."""

import json

import numpy as np
import pytest
from pycocotools import mask

from sppdet.data.formats.coco_values import is_number, read_box
from sppdet.data.formats.rle import surround_runs
from sppdet.data.formats.values import read_decimal, read_flag, read_float
from sppdet.data.formats.xml import read_xml
from sppdet.data.problems import Problems
from sppdet.errors import DataError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"


def write(tmp_path, inner: str):
    (tmp_path / "a.xml").write_text(f"<annotation><object>{inner}</object></annotation>")
    return tmp_path / "a.xml"


@pytest.mark.parametrize("text", ["1_0", "٣", "1e30", "-1e9", "10000001", "0x10", ""])
def test_python_reads_more_as_numbers_than_annotations_have(text):
    for read in (read_float, read_decimal):
        with pytest.raises(ValueError, match=r"^|could not"):
            read(text)


def test_numbers_are_read():
    assert (read_float(" 12.5 "), read_decimal("12,5"), read_float("1e3"), read_flag("1_0")) == (12.5, 12.5, 1000, None)


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (f"<name>cat</name>{BOX}{BOX}", r"object\[1\]/bndbox: given more than once"),
        (f"<name>cat</name><name>dog</name>{BOX}", r"object\[1\]/name: given more than once"),
        (f"<name>cat</name>{BOX.replace('<ymin>', '<xmin>9</xmin><ymin>')}", r"bndbox/xmin: given more than once"),
        (f"<name>cat</name>{BOX.replace('30', '1e30')}", r"bndbox/xmax: not a number .*up to 10000000, got 1e30"),
        (f"<name>cat</name>{BOX.replace('30', '3_0')}", r"bndbox/xmax: not a number .*got 3_0"),
    ],
)
def test_values_given_twice_and_numbers_that_are_none_are_errors(tmp_path, inner, words):
    with pytest.raises(DataError, match=words):
        read_xml(write(tmp_path, inner), Problems())


@pytest.mark.parametrize("value", [1e30, 10**400, -(10**8), True, "1", None])
def test_numbers_of_json_that_are_in_no_image(value):
    assert not is_number(value)


def test_the_box_of_a_mask_is_that_of_pycocotools():
    rng = np.random.default_rng(0)
    for k in range(200):
        shape = rng.integers(1, 12, 2)
        pixels = np.asfortranarray(rng.random(shape) < rng.choice([0.02, 0.2, 0.8]), dtype=np.uint8)
        encoded = mask.encode(pixels)
        x, y, w, h = mask.toBbox(encoded).tolist()
        text = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        assert surround_runs(json.loads(json.dumps(text))) == (x, y, x + w, y + h), k
        ends = np.flatnonzero(np.diff(np.concatenate([[0], pixels.ravel("F"), [2]]))).tolist()
        runs = np.diff([0, *ends]).tolist()
        assert surround_runs({"size": shape.tolist(), "counts": runs}) == (x, y, x + w, y + h), k


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([0, 5], "52"),  # ended the process: division by zero
        ([5, 5], "`"),  # read beyond the text
        ([5, 5], "é2"),
        ([5, 5], [1, -3]),
        ([5, 5], [1, 100]),
        ([5, 5], [1, 2.5]),
        ([5, 5], "o" * 40 + "0"),
        ([5], [1, 2]),
        ("55", "52"),
    ],
)
def test_masks_that_are_none(tmp_path, size, counts):
    record = {"segmentation": {"size": size, "counts": counts}}
    with pytest.raises(DataError, match=r"a\.json: annotations\[0\]\.segmentation: not polygons"):
        read_box(tmp_path / "a.json", record, "annotations[0]")
