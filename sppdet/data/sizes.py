"""Annotated sizes of images against those of their files."""

from sppdet.data.records import AnnotatedImage, Box
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.structures.valid_boxes import Size

ROUNDING = 1  # pixels by which a program may round a size
TURNED = "which its EXIF orientation turns: turn the boxes, or save the image upright"
OVERHANG = 1, 0.01  # pixels and fraction of a side by which a box may reach beyond its image


def size_fault(image: AnnotatedImage, found: Size | None) -> tuple[str, DataError] | None:
    """Return the kind and the error if annotations are of an image of another size than this one, else None.

    found: (width, height) of the image file, upright. None: not known. Annotations without a size are of another image
    if their boxes leave the upright one, but not the stored one, which its EXIF orientation turns.
    """
    given, expected = image.size, f"{found[0]} x {found[1]} of {image.path}" if found else ""
    if found is None or (given and _are_same(given, found)):
        return None
    if given is None:
        if not _leave(image, found) or _leave(image, read_size(image.path, stored=True) or found):
            return None
        error = DataError(f"boxes of the stored image, {TURNED}", file=image.file, expected=f"boxes in {expected}")
        return "stored orientation", error
    if not _are_same(given, found[::-1]):
        kind = "annotated size"
        message = "is not the image's: scale the boxes to the image, or remove the size, if they fit the image"
    elif _are_same(given, read_size(image.path, stored=True) or found):
        kind = "stored orientation"
        message = f"is the stored image's, {TURNED}"
    else:
        kind = "exchanged sides"
        message = "width and height are exchanged: exchange them, or turn the boxes, if they do not fit the image"
    got = f"{given[0]} x {given[1]}"
    return kind, DataError(message, file=image.file, field=image.size_field, expected=expected, got=got)


def overhang(box: Box, size: Size) -> float:
    """Return by how many pixels a box reaches beyond an image of (width, height), 0 if it may be by rounding."""
    pixels, fraction = OVERHANG
    beyond = [(max(-box[axis], box[axis + 2] - size[axis]), size[axis]) for axis in (0, 1)]
    return max((out for out, side in beyond if out > pixels + fraction * side), default=0)


def _leave(image: AnnotatedImage, size: Size) -> bool:
    return any(overhang(thing.box, size) for thing in image.objects)


def _are_same(one: Size, other: Size) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= ROUNDING
