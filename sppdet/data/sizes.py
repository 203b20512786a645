"""Annotated sizes of images against those of their files."""

from pathlib import Path

from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.structures.valid_boxes import Size

ROUNDING = 1  # pixels by which a program may round a size


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
        message = "is the stored image's, which its EXIF orientation turns: turn the boxes, or save the image upright"
    else:
        kind = "exchanged sides"
        message = "width and height are exchanged: exchange them, or turn the boxes, if they do not fit the image"
    expected, got = f"{found[0]} x {found[1]} of {image}", f"{given[0]} x {given[1]}"
    return kind, DataError(message, file=file, field=field, expected=expected, got=got)


def _are_same(one: Size, other: Size) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= ROUNDING
