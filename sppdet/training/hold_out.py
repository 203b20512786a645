"""The division of the images: all that heads are fitted to in the end, and those held out to choose thresholds."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sppdet.config.training import TrainConfig
from sppdet.data.build import CountedDataset
from sppdet.data.checks.readable import keep_readable
from sppdet.data.dataset import read_counted
from sppdet.errors import DataError
from sppdet.structures import Dataset
from sppdet.wording import counted

logger = logging.getLogger(__name__)

WITHOUT_OBJECTS = "class without objects to train on"
SHOWN = 10  # copies that are named
HELD_OUT = 5  # without a val split, every fifth image is held out


class Split(NamedTuple):
    """The images of a training and their roles.

    final_fit: indices of the images that the final heads are fitted to. held_out: indices of the images that the first
    heads are evaluated on. keys: content key of each image. how: the images held out, in words. read: the data sets as
    read, none if they were given. unreadable: image files that are left out.
    """

    dataset: Dataset
    final_fit: list[int]
    held_out: list[int]
    keys: list[str]
    how: str = ""
    read: tuple[CountedDataset, ...] = ()
    unreadable: frozenset[Path | None] = frozenset()

    @property
    def first_fit(self) -> list[int]:
        """Indices of the images that the first heads are fitted to."""
        return sorted(set(self.final_fit) - set(self.held_out))


def hold_out(config: TrainConfig, dataset: Dataset | None = None, val: Dataset | None = None) -> Split:
    """Join the training images and the images of val in one data set, and divide it.

    dataset, val: the images if they are not read as `config` says. Every fifth image is held out without val, or if it
    holds all training images, or no object, or, with `max_images` and the default val, none of the first images. Copies
    of held-out images under other ids are held out with them. Raises ImageError for unreadable images (see
    `keep_readable`). Raises DataError for a single image, if val has other classes, or if no image or, for a class of
    config.data.classes, none of its images has an object; other classes without objects are logged.
    """
    split = _divide(config, dataset, val)
    _check_objects(split, config.data.class_names if dataset is None else ())
    return split


def _divide(config: TrainConfig, dataset: Dataset | None, val: Dataset | None) -> Split:
    limited = dataset is None and is_limited(config)
    name = config.val if val is None else val.name
    read: list[CountedDataset] = []
    if dataset is None:
        read = [*islice(read_sets(config), 2 if val is None else 1)]
        _check_named(read[0], config.data.class_names)  # before all images are decoded
        dataset, *others = (each.dataset for each in read)
        val = others[0] if others else val
    if val is not None and val.classes != dataset.classes:
        names = [", ".join(each.classes) for each in (dataset, val)]
        raise DataError("other classes than the training images", field="val", expected=names[0], got=names[1])
    given = [dataset, *([val] if val else [])]
    dataset, *others = keep_readable(given, config.data.skip_unreadable, config.workers)
    before, after = ({image.path for each in sets for image in each.images} for sets in (given, [dataset, *others]))
    unreadable = frozenset(before - after)
    final_fit, keys = list(range(len(dataset))), [image.cache_key() for image in dataset.images]
    reason = "there is no val"
    for val in others:
        of_val = [image.cache_key() for image in val.images]
        known = set(keys)
        extra = [i for i, key in enumerate(of_val) if key not in known and not limited]
        joined = replace(dataset, images=(*dataset.images, *(val.images[i] for i in extra)))
        all_keys = [*keys, *(of_val[i] for i in extra)]
        held_out = _with_copies(of_val, all_keys)
        among = f" that are among the first {len(dataset)} of the data" if limited else ""
        if not held_out:
            reason = f"{name} has no images{among}"
        elif set(final_fit) <= set(held_out):
            reason = f"{name} has all images"
        elif not _has_objects(joined, held_out):
            reason = f"{name} has no objects{among}"
        else:
            how = f"the images of {name}{among}"
            logger.info("held out: %s", how)
            _count_copies(joined, held_out, {image.path for image in val.images})
            return Split(joined, final_fit, held_out, all_keys, how, tuple(read), unreadable)
    if len(final_fit) < 2:
        raise DataError("too few images", field="data", expected="at least 2, one to be held out", got=len(final_fit))
    how = f"{'every fifth' if len(final_fit) >= HELD_OUT else 'the last'} image, as {reason}"
    logger.info("held out: %s", how)
    chosen = _every_fifth(dataset)
    held_out = _with_copies([keys[i] for i in chosen], keys)
    held_out = held_out if len(held_out) < len(dataset) else chosen
    _count_copies(dataset, held_out, {dataset.images[i].path for i in chosen})
    return Split(dataset, final_fit, held_out, keys, how, tuple(read), unreadable)


def is_limited(config: TrainConfig) -> bool:
    """Return True if images of val count only if they are among the first images of the data."""
    return config.data.max_images is not None and config.val == TrainConfig.val


def read_sets(config: TrainConfig) -> Iterator[CountedDataset]:
    """Yield the training images, and then those of val, if `config` names any."""
    dataset = read_counted(config.data)
    yield dataset
    if val := _read_val(dataset.dataset, config):
        yield val


def _every_fifth(dataset: Dataset) -> list[int]:
    """Return every fifth index, from the fifth on, or from an earlier one if that leaves a part without objects.

    Of fewer images one is chosen, the last one if possible.
    """
    indices = list(range(len(dataset)))
    first = min(len(dataset), HELD_OUT) - 1
    choices = [indices[start::HELD_OUT] for start in range(first, -1, -1)]
    for chosen in choices:
        if _has_objects(dataset, chosen) and _has_objects(dataset, sorted(set(indices) - set(chosen))):
            return chosen
    return choices[0]


def _with_copies(wanted: Sequence[str], keys: Sequence[str]) -> list[int]:
    """Return the indices of the images with the content keys `wanted`, in their order."""
    places: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    return [i for key in dict.fromkeys(wanted) for i in places.get(key, ())]


def _count_copies(dataset: Dataset, held_out: Sequence[int], files: set[Path | None]) -> None:
    """Log the number of held-out images that are copies of the `files` to hold out, or these files under other ids."""
    rest, copies = set(files), []
    for image in (dataset.images[i] for i in held_out):
        if image.path not in rest:
            copies.append(str(image.id))
        elif image.path:
            rest.remove(image.path)
    if copies:
        count = counted(len(copies), "copy")
        logger.warning("held out as well, %s of held-out images: %s", count, ", ".join(copies[:SHOWN]))


def _check_named(read: CountedDataset, named: Sequence[str]) -> None:
    """Raise DataError if one of the classes `named` has no object in the training images, with the names that do."""
    missing = _without_objects(read.dataset, list(range(len(read.dataset))))
    for name in (name for name in missing if name in named):
        others = {other for entry in read.entries for other in entry.ignored}
        known = sorted(others.union(read.dataset.classes).difference(missing))
        raise DataError(WITHOUT_OBJECTS, field="data.classes", expected=tuple(known), got=name)


def _check_objects(split: Split, named: Sequence[str]) -> None:
    """Log the classes that have no objects in a part; raise DataError if one of `named` has none to train on."""
    missing = _without_objects(split.dataset, split.final_fit)
    for name in missing:
        if name in named:  # its objects are in unreadable images
            raise DataError(WITHOUT_OBJECTS, field="data.classes", got=name)
    if len(missing) == len(split.dataset.classes):
        raise DataError(
            "no objects to train on", field="data", got=f"{counted(len(split.final_fit), 'image')} without any"
        )
    parts = {"no image to train on has": missing}
    for which, indices in (("only images held out have", split.first_fit), ("no image held out has", split.held_out)):
        parts[which] = [name for name in _without_objects(split.dataset, indices) if name not in missing]
    for which, names in parts.items():
        if names:
            logger.warning("%s objects of class %s", which, ", ".join(names))


def _without_objects(dataset: Dataset, indices: list[int]) -> list[str]:
    """Return the classes of which these images have no object, or difficult ones only."""
    images = [dataset.images[i] for i in indices]
    labels = {label for image in images for label in image.labels[~image.difficult].tolist()}
    return [name for label, name in enumerate(dataset.classes, start=1) if label not in labels]


def _has_objects(dataset: Dataset, indices: list[int]) -> bool:
    return len(_without_objects(dataset, indices)) < len(dataset.classes)


def _read_val(dataset: Dataset, config: TrainConfig) -> CountedDataset | None:
    """Read the images that `config.val` names. None if it has its default and the data have no such split."""
    data, default = config.data, config.val == TrainConfig.val
    if not config.val or (data.annotations and default):
        return None
    split, annotations = (data.split, config.val) if data.annotations else (config.val, None)
    try:
        val = replace(data, split=split, annotations=annotations, max_images=None)
        return read_counted(val, dataset.classes)
    except DataError as error:
        if default and error.field == "split":  # not every data set has one
            return None
        raise
