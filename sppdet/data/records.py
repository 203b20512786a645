"""Annotated images as the readers of all formats return them, and the data set made of them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.data.problems import Problems
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.structures import Annotations, Dataset, ImageId
from sppdet.structures.valid_boxes import annotate_image

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


class AnnotatedObject(NamedTuple):
    """name: its class. box: x1 y1 x2 y2 in pixels, 0-based, half-open, not checked. field: place of its class."""

    name: str
    box: Box
    difficult: bool
    field: str


class AnnotatedImage(NamedTuple):
    """file: where the objects come from. size: (width, height) as annotated, None if not given."""

    id: ImageId
    path: Path
    file: Path
    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]


class Records(NamedTuple):
    """Images of a split, or of all. classes: as a file of the data lists them, in the order of their labels; None if
    only the objects say. category_ids: ids of these classes, if they are not 1..K."""

    images: list[AnnotatedImage]
    classes: tuple[str, ...] | None = None
    category_ids: Mapping[str, int] = {}


def names_of(images: Sequence[AnnotatedImage]) -> tuple[str, ...]:
    """Return the sorted class names of all objects."""
    return tuple(sorted({thing.name for image in images for thing in image.objects}))


def build_dataset(
    name: str,
    records: Records,
    classes: Sequence[str],
    least_side: float,
    problems: Problems,
    ignore_others: bool = False,
    origin: str = "",
) -> Dataset:
    """Make the data set of the images, and log its counts, and its origin: format and splits.

    classes: names of labels 1..K. Objects of other classes are errors, or, with `ignore_others`, ignored and counted.
    Unusable boxes are skipped with a warning (see `keep_valid_boxes`): sides have to exceed `least_side` pixels. If the
    size of an image is not annotated, it comes from the header of its file.
    """
    labels = {name: label for label, name in enumerate(classes, start=1)}
    others: Counter[str] = Counter()
    images = []
    for image in records.images:
        objects = []
        for thing in image.objects:
            if thing.name in labels:
                objects.append((labels[thing.name], thing.box, thing.difficult))
            elif ignore_others:
                others[thing.name] += 1
            else:
                problems.error("unknown class", _unknown_class(image, thing, classes))
        images.append(_annotate(image, objects, least_side, problems))
    background, kept = sum(not len(image.labels) for image in images), sum(len(image.labels) for image in images)
    skipped = sum(len(image.objects) for image in records.images) - kept - others.total()
    of_classes = f"{_count(kept, 'object')} of {_count(len(classes), 'class')}"
    counts = [f"{_count(len(images), 'image')} ({background} without objects)", of_classes]
    if skipped:
        counts.append(f"{_count(skipped, 'object')} skipped")
    if others:
        parts = ", ".join(f"{name} {count}" for name, count in others.most_common())
        counts.append(f"{_count(others.total(), 'object')} of other classes ignored ({parts})")
    logger.info("%s%s: %s", name, f" ({origin})" if origin else "", ", ".join(counts))
    return Dataset(name, tuple(classes), tuple(images), _category_ids(classes, records.category_ids))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def _unknown_class(image: AnnotatedImage, thing: AnnotatedObject, classes: Sequence[str]) -> DataError:
    message, expected = "unknown class (data.classes without it ignores it)", f"one of {', '.join(classes)}"
    return DataError(message, file=image.file, field=thing.field, expected=expected, got=thing.name)


def _annotate(
    image: AnnotatedImage, objects: list[tuple[int, Box, bool]], least_side: float, problems: Problems
) -> Annotations:
    def report(field: str, message: str) -> None:
        problems.warn("box skipped", message, image.file, field)

    size = image.size or (read_size(image.path) if objects else None)
    return annotate_image(image.path, image.id, objects, size, least_side, image.file, report)


def _category_ids(classes: Sequence[str], known: Mapping[str, int]) -> tuple[int, ...]:
    """Return the id of each class; classes without one get the numbers after the highest."""
    if not known:
        return ()
    free = max(known.values()) + 1
    ids = []
    for name in classes:
        ids.append(known.get(name, free))
        free += name not in known
    return tuple(ids)
