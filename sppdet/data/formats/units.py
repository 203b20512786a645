"""Boxes in other units than those of their format: fractions for pixels, or corners in place of a width and height."""

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

from sppdet.errors import DataError

LEAVING = 2, 0.3  # at least so many boxes, and more than this fraction of them, that leave their images

Quad = Sequence[float]


class Sides(NamedTuple):
    """A box given with its sides. corners: its numbers may be corners on the image. leaves: it reaches beyond the image
    by more than 1% and a pixel."""

    numbers: Quad
    corners: bool
    leaves: bool
    file: str | PathLike[str]
    field: str


def check_pixels(boxes: Sequence[Quad], fields: Sequence[str], file: str | PathLike[str], expected: str) -> None:
    """Raise DataError, naming the field of the first box, if all numbers of a file are in [0, 1] and not all whole."""
    numbers = [number for box in boxes for number in box]
    if numbers and all(0 <= number <= 1 for number in numbers) and any(number % 1 for number in numbers):
        raise _wrong_units("fractions of the image, not pixels", boxes[0], file, fields[0], expected)


def check_sides(boxes: Sequence[Sides], expected: str) -> None:
    """Raise DataError if all boxes may be corners, and many leave their images if they are not."""
    leaving = [box for box in boxes if box.leaves]
    count, fraction = LEAVING
    if len(leaving) >= count and len(leaving) > fraction * len(boxes) and all(box.corners for box in boxes):
        first = leaving[0]
        raise _wrong_units("corners, not sides", first.numbers, first.file, first.field, expected)


def _wrong_units(message: str, box: Quad, file: str | PathLike[str], field: str, expected: str) -> DataError:
    got = ", ".join(f"{number:g}" for number in box)
    return DataError(message, file=file, field=field, expected=expected, got=f"[{got}]")
