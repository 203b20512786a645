"""Annotated images as the readers of all formats return them, and the data set made of them."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from sppdet.data.problems import Problems
from sppdet.data.sizes import orientation_fault, size_fault
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.runtime.prefetch import prefetch
from sppdet.structures import Annotations, Dataset, ImageId
from sppdet.structures.valid_boxes import Size, keep_valid_boxes

logger = logging.getLogger(__name__)

HEADER_THREADS = 4  # they wait for the disk

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
    the size in the file."""

    id: ImageId
    path: Path
    file: Path
    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]
    size_field: str = "size"


class Records(NamedTuple):
    """Images of a split, or of all. classes: as a file of the data lists them, in the order of their labels; None if
    only the objects say. category_ids: ids of these classes, if they are not 1..K."""

    images: list[AnnotatedImage]
    classes: tuple[str, ...] | None = None
    category_ids: Mapping[str, int] = {}


def names_of(images: Sequence[AnnotatedImage]) -> tuple[str, ...]:
    """Return the sorted class names of all objects."""
    return tuple(sorted({thing.name for image in images for thing in image.objects}))


class CheckedImage(NamedTuple):
    """An image as its file has it. objects: those of its annotations. size: (width, height), None if unknown."""

    source: AnnotatedImage
    annotations: Annotations
    objects: tuple[AnnotatedObject, ...]
    size: Size | None


def check_images(
    images: Sequence[AnnotatedImage],
    classes: Sequence[str],
    least_side: float,
    problems: Problems,
    ignored: Counter[str] | None = None,
) -> list[CheckedImage]:
    """Return the images that are as annotated, with their usable objects, in order.

    classes: names of labels 1..K. Objects of other classes are errors or, with `ignored`, counted there. An image is
    left out, after an error, if its size is not the annotated one (see `size_fault`), and a box is skipped with a
    warning if it is not usable (see `keep_valid_boxes`): sides have to exceed `least_side` pixels.
    """
    labels = {label: k for k, label in enumerate(classes, start=1)}
    checked = []
    sizes = list(prefetch([image.path for image in images], read_size, HEADER_THREADS, ahead=100))
    for image, size in zip(images, sizes, strict=True):
        fault = _find_fault(image, size)
        if fault:
            problems.error(*fault)
            continue
        objects = []
        for thing in image.objects:
            if thing.name in labels:
                objects.append(thing)
            elif ignored is not None:
                ignored[thing.name] += 1
            else:
                problems.error("unknown class", _unknown_class(image, thing, classes))
        checked.append(_check_boxes(image, objects, labels, size or image.size, least_side, problems))
    return checked


def _find_fault(image: AnnotatedImage, size: Size | None) -> tuple[str, DataError] | None:
    """Return the kind and the error if the annotations are of an image of another size than this one."""
    if image.size is not None or size is None:
        return size_fault(image.path, image.file, image.size_field, image.size, size)
    error = orientation_fault(image.path, [thing.box for thing in image.objects], size)
    return ("stored orientation", error.in_file(image.file)) if error else None


def build_dataset(
    name: str,
    records: Records,
    classes: Sequence[str],
    least_side: float,
    problems: Problems,
    ignore_others: bool = False,
    origin: str = "",
) -> Dataset:
    """Make the data set of the images (see `check_images`), and log its counts, and its origin: format and splits.

    classes: names of labels 1..K. Objects of other classes are errors, or, with `ignore_others`, ignored and counted.
    """
    others: Counter[str] = Counter()
    checked = check_images(records.images, classes, least_side, problems, others if ignore_others else None)
    images = [image.annotations for image in checked]
    background, kept = sum(not len(image.labels) for image in images), sum(len(image.labels) for image in images)
    skipped = sum(len(image.objects) for image in records.images) - kept - others.total()
    of_classes = f"{_count(kept, 'object')} of {_count(len(classes), 'class')}"
    counts = [f"{_count(len(images), 'image')} ({background} without objects)", of_classes]
    if len(images) < len(records.images):
        counts.append(f"{_count(len(records.images) - len(images), 'image')} left out")
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


def _check_boxes(
    image: AnnotatedImage,
    objects: Sequence[AnnotatedObject],
    labels: Mapping[str, int],
    size: Size | None,
    least_side: float,
    problems: Problems,
) -> CheckedImage:
    def report(index: int, reason: str, message: str) -> None:
        problems.warn(f"box {reason}", message, image.file, objects[index].place)

    given = [thing.box for thing in objects]
    boxes, kept = keep_valid_boxes(given, size, least_side, file=image.file, image=image.id, report=report)
    usable = tuple(objects[i] for i in kept)
    numbers = torch.tensor([labels[thing.name] for thing in usable], dtype=torch.int64)
    difficult = torch.tensor([thing.difficult for thing in usable], dtype=torch.bool)
    return CheckedImage(image, Annotations(image.path, boxes, numbers, difficult, image.id), usable, size)


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
