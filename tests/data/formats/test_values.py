import math

import pytest

from sppdet.data.formats.units import Sides, check_pixels, check_sides
from sppdet.data.formats.values import read_decimal, read_flag, surround, surround_rotated
from sppdet.errors import DataError


def test_flags():
    assert [read_flag(value) for value in (1, True, 2, "1", " true ", "Yes", "1.0", "T")] == [True] * 8
    assert [read_flag(value) for value in (0, False, None, "", "0", "false", "No", "0.0", "Unspecified")] == [False] * 9
    assert read_flag("perhaps") is None


def test_decimals_may_follow_a_comma():
    assert [read_decimal(text) for text in ("21,5", " 21.5", "2e1")] == [21.5, 21.5, 20]
    for text in ("1,000,5", "1,000.5", "", "x"):
        with pytest.raises(ValueError, match="float"):
            read_decimal(text)


def test_boxes_around_outlines():
    assert surround([3, 1, 2], [5, 9, 7]) == (1, 5, 3, 9)
    assert surround_rotated(10, 20, 4, 2, 0) == (8, 19, 12, 21)
    assert surround_rotated(10, 20, 4, 2, math.pi / 2) == pytest.approx((9, 18, 11, 22))


def test_fractions_are_no_pixels():
    with pytest.raises(
        DataError, match=r"f: b: fractions of the image, not pixels \(expected px, got \[0\.5, 0, 1, 1\]\)"
    ):
        check_pixels([(0.5, 0, 1, 1), (0, 0, 1, 1)], ["b", "c"], "f", "px")
    check_pixels([(0.5, 0, 1, 1), (0, 0, 1, 2)], ["b", "c"], "f", "px")
    check_pixels([(0, 0, 1, 1)], ["b"], "f", "px")
    check_pixels([], [], "f", "px")


@pytest.mark.parametrize(
    ("corners", "leaves", "refused"),
    [
        ([True, True, True], [False, True, True], True),
        ([True, True, False], [False, True, True], False),
        ([True, True, True], [False, False, True], False),
        ([True] * 8, [True] * 2 + [False] * 6, False),
    ],
)
def test_corners_are_no_sides(corners, leaves, refused):
    boxes = [Sides((1, 2, 3, 4), *each, "f", f"b{i}") for i, each in enumerate(zip(corners, leaves, strict=True))]
    if refused:
        with pytest.raises(DataError, match=r"f: b1: corners, not sides \(expected px, got \[1, 2, 3, 4\]\)"):
            check_sides(boxes, "px")
    else:
        check_sides(boxes, "px")
