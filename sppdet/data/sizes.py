"""Annotated sizes of images against those of their files."""

from collections.abc import Sequence
from pathlib import Path

from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.structures.valid_boxes import Size

ROUNDING = 1  # pixels by which a program may round a size
TURNED = "which its EXIF orientation turns: turn the boxes, or save the image upright"
OVERHANG = 1, 0.01  # pixels and fraction of a side by which a box may reach beyond its image

Quad = Sequence[float]


def size_fault(
    image: Path, file: Path, field: str, given: Size | None, found: Size | None
) -> tuple[str, DataError] | None:
    """Return the kind and the error if the annotated size is not that of the image, else None.

    given: (width, height) at `field` of the annotation `file`. found: that of the image, upright. None: not known.
    """
    if given is None or found is None or _are_same(given, found):
        return None
    if not _are_same(given, found[::-1]):
        kind = "annotated size"
        message = "is not the image's: scale the boxes to the image, or remove the size, if they fit the image"
    elif _are_same(given, read_size(image, stored=True) or found):
        kind = "stored orientation"
        message = f"is the stored image's, {TURNED}"
    else:
        kind = "exchanged sides"
        message = "width and height are exchanged: exchange them, or turn the boxes, if they do not fit the image"
    expected, got = f"{found[0]} x {found[1]} of {image}", f"{given[0]} x {given[1]}"
    return kind, DataError(message, file=file, field=field, expected=expected, got=got)


def orientation_fault(image: Path, boxes: Sequence[Quad], found: Size) -> DataError | None:
    """Return the error if boxes x1 y1 x2 y2 leave an image that its EXIF orientation turns, but not the stored one.

    found: (width, height) of the image, upright.
    """
    if not any(overhang(box, found) for box in boxes):
        return None
    stored = read_size(image, stored=True)
    if stored is None or stored == found or any(overhang(box, stored) for box in boxes):
        return None
    return DataError(f"boxes of the stored image, {TURNED}", expected=f"boxes in {found[0]} x {found[1]} of {image}")


def overhang(box: Quad, size: Size) -> float:
    """Return by how many pixels a box reaches beyond an image of (width, height), 0 if it may be by rounding."""
    pixels, fraction = OVERHANG
    beyond = [(max(-box[axis], box[axis + 2] - size[axis]), size[axis]) for axis in (0, 1)]
    return max((out for out, side in beyond if out > pixels + fraction * side), default=0)


def _are_same(one: Size, other: Size) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= ROUNDING
