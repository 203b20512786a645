"""Records against their image files: what can be used of them, and the data set made of that."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Records
from sppdet.data.sizes import size_fault
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.runtime.prefetch import prefetch
from sppdet.structures import Annotations, Dataset
from sppdet.structures.valid_boxes import Size, keep_valid_boxes
from sppdet.wording import counted

logger = logging.getLogger(__name__)

HEADER_THREADS = 4  # they wait for the disk


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
        fault = size_fault(image, size)
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
    of_classes = f"{counted(kept, 'object')} of {counted(len(classes), 'class')}"
    counts = [f"{counted(len(images), 'image')} ({background} without objects)", of_classes]
    if len(images) < len(records.images):
        counts.append(f"{counted(len(records.images) - len(images), 'image')} left out")
    if skipped:
        counts.append(f"{counted(skipped, 'object')} skipped")
    if others:
        parts = ", ".join(f"{name} {count}" for name, count in others.most_common())
        counts.append(f"{counted(others.total(), 'object')} of other classes ignored ({parts})")
    logger.info("%s%s: %s", name, f" ({origin})" if origin else "", ", ".join(counts))
    return Dataset(name, tuple(classes), tuple(images), _category_ids(classes, records.category_ids))


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
