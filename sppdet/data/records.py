"""Annotated images as the readers of all formats return them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.data.entries import Entry
from sppdet.errors import DataError
from sppdet.structures import ImageId
from sppdet.structures.valid_boxes import Size

LISTED_TWICE = "image listed twice"  # the kind of problem
Box = tuple[float, float, float, float]


class AnnotatedObject(NamedTuple):
    """name: its class. box: x1 y1 x2 y2 in pixels, 0-based, half-open, not checked. field: place of its class."""

    name: str
    box: Box
    difficult: bool
    field: str

    @property
    def place(self) -> str:
        """Place of the object in its file."""
        return re.sub(r"(/name|/label|\.category_id)$", "", self.field)


class AnnotatedImage(NamedTuple):
    """file: where the objects come from. size: (width, height) as annotated, None if not given. size_field: place of
    the size in the file. malformed: number of objects that cannot be read."""

    id: ImageId
    path: Path
    file: Path
    size: Size | None
    objects: tuple[AnnotatedObject, ...]
    size_field: str = "size"
    malformed: int = 0

    def entry(self, fault: str = "") -> Entry:
        """Return the image for the counts, left out for a fault unless it is empty."""
        return Entry((self.file, self.size_field), self.path, len(self.objects) + self.malformed, fault)


class Records(NamedTuple):
    """Images of a split, or of all. classes: as a file of the data lists them, in the order of their labels; None if
    only the objects say. category_ids: ids of these classes, if they are not 1..K. left_out: images with errors."""

    images: list[AnnotatedImage]
    classes: tuple[str, ...] | None = None
    category_ids: Mapping[str, int] = {}
    left_out: Sequence[Entry] = ()


def listed_twice(file: Path, field: str, name: str) -> DataError:
    """Return the error of each of several entries of one image: the objects of one are background in the others."""
    message = f"{LISTED_TWICE}: keep one entry of it, with the objects of all"
    return DataError(message, file=file, field=field, got=name)


def names_of(images: Sequence[AnnotatedImage]) -> tuple[str, ...]:
    """Return the sorted class names of all objects."""
    return tuple(sorted({thing.name for image in images for thing in image.objects}))
