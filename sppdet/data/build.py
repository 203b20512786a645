"""Records against their image files: what can be used of them, and the data set made of that."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from sppdet.data.entries import MALFORMED, Entry, describe
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Records
from sppdet.data.sizes import size_fault
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.runtime.prefetch import read_small_files
from sppdet.structures import Annotations, Dataset
from sppdet.structures.valid_boxes import Size, keep_valid_boxes

logger = logging.getLogger(__name__)


class CheckedImage(NamedTuple):
    """An image as its file has it. objects: those of its annotations. size: (width, height), None if unknown.
    ignored, skipped: numbers of its other objects, by class and reason."""

    source: AnnotatedImage
    annotations: Annotations
    objects: tuple[AnnotatedObject, ...]
    size: Size | None
    ignored: Counter[str]
    skipped: Counter[str]

    @property
    def entry(self) -> Entry:
        entry = self.source.entry()
        return entry._replace(annotations=self.annotations, ignored=self.ignored, skipped=self.skipped)


def check_images(
    images: Sequence[AnnotatedImage],
    classes: Sequence[str],
    least_side: float,
    problems: Problems,
    ignore_others: bool = False,
) -> tuple[list[CheckedImage], list[Entry]]:
    """Return the images that are as annotated, with their usable objects, in order, and those that are left out.

    classes: names of labels 1..K. Objects of other classes are errors unless `ignore_others`. An image is left out,
    after an error, if its size is not the annotated one (see `size_fault`), and a box is skipped with a warning if it
    is not usable (see `keep_valid_boxes`): sides have to exceed `least_side` pixels.
    """
    labels = {label: k for k, label in enumerate(classes, start=1)}
    checked, left_out = [], []
    sizes = list(read_small_files([image.path for image in images], read_size))
    for image, size in zip(images, sizes, strict=True):
        fault = size_fault(image, size)
        if fault:
            problems.error(*fault)
            left_out.append(image.entry(fault[0]))
            continue
        objects, ignored = [], Counter[str]()
        skipped = Counter({MALFORMED: image.malformed} if image.malformed else {})
        for thing in image.objects:
            if thing.name in labels:
                objects.append(thing)
            elif ignore_others:
                ignored[thing.name] += 1
            else:
                problems.error("unknown class", _unknown_class(image, thing, classes))
                skipped["unknown class"] += 1
        usable = _check_boxes(image, objects, labels, size or image.size, least_side, problems)
        checked.append(usable._replace(ignored=ignored, skipped=usable.skipped + skipped))
    return checked, left_out


class CountedDataset(NamedTuple):
    """A data set, its origin (format and splits), and all images that were read for it, also those left out."""

    dataset: Dataset
    origin: str
    entries: Sequence[Entry]


def build_dataset(
    name: str,
    records: Records,
    classes: Sequence[str],
    least_side: float,
    problems: Problems,
    ignore_others: bool = False,
    origin: str = "",
) -> CountedDataset:
    """Make the data set of the images (see `check_images`), and log its counts, and its origin: format and splits.

    classes: names of labels 1..K. Objects of other classes are errors, or, with `ignore_others`, ignored and counted.
    """
    checked, left_out = check_images(records.images, classes, least_side, problems, ignore_others)
    entries = [*(image.entry for image in checked), *left_out, *records.left_out]
    logger.info("%s%s: %s", name, f" ({origin})" if origin else "", describe(entries, classes))
    images = tuple(image.annotations for image in checked)
    dataset = Dataset(name, tuple(classes), images, _category_ids(classes, records.category_ids))
    return CountedDataset(dataset, origin, entries)


def _unknown_class(image: AnnotatedImage, thing: AnnotatedObject, classes: Sequence[str]) -> DataError:
    message = "unknown class (data.classes without it ignores it)"
    return DataError(message, file=image.file, field=thing.field, expected=tuple(classes), got=thing.name)


def _check_boxes(
    image: AnnotatedImage,
    objects: Sequence[AnnotatedObject],
    labels: Mapping[str, int],
    size: Size | None,
    least_side: float,
    problems: Problems,
) -> CheckedImage:
    skipped = Counter[str]()

    def report(index: int, reason: str, message: str) -> None:
        skipped[f"box {reason}"] += 1
        problems.warn(f"box {reason}", message, image.file, objects[index].place)

    given = [thing.box for thing in objects]
    boxes, kept = keep_valid_boxes(given, size, least_side, file=image.file, image=image.id, report=report)
    usable = tuple(objects[i] for i in kept)
    numbers = torch.tensor([labels[thing.name] for thing in usable], dtype=torch.int64)
    difficult = torch.tensor([thing.difficult for thing in usable], dtype=torch.bool)
    annotations = Annotations(image.path, boxes, numbers, difficult, image.id)
    return CheckedImage(image, annotations, usable, size, Counter(), skipped)


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
