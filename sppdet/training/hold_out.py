"""The division of the images: all that heads are fitted to in the end, and those held out to choose thresholds."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.errors import DataError
from sppdet.structures import Annotations, Dataset

logger = logging.getLogger(__name__)

HELD_OUT = 5  # without a val split, every fifth image is held out


class Split(NamedTuple):
    """The images of a training and their roles.

    final_fit: indices of the images that the final heads are fitted to. held_out: indices of the images that the first
    heads are evaluated on.
    """

    dataset: Dataset
    final_fit: list[int]
    held_out: list[int]

    @property
    def first_fit(self) -> list[int]:
        """Indices of the images that the first heads are fitted to."""
        return sorted(set(self.final_fit) - set(self.held_out))


def hold_out(config: TrainConfig, dataset: Dataset | None = None, val: Dataset | None = None) -> Split:
    """Join the training images and the images of val in one data set, and divide it.

    dataset, val: the images if they are not read as `config` says. Every fifth image is held out without val, or if it
    holds all training images or, with `max_images`, none of them. Raises DataError for a single image, or if val has
    other classes, or if a class of config.data.classes has no objects; other classes without objects are logged.
    """
    split = _divide(config, dataset, val)
    _check_objects(split, config.data.class_names if dataset is None else ())
    return split


def _divide(config: TrainConfig, dataset: Dataset | None, val: Dataset | None) -> Split:
    limited = dataset is None and config.data.max_images is not None
    name = config.val if val is None else val.name
    if dataset is None:
        dataset = read_dataset(config.data)
        val = _read_val(dataset, config) if val is None else val
    if val is not None and val.classes != dataset.classes:
        names = [", ".join(each.classes) for each in (dataset, val)]
        raise DataError("other classes than the training images", field="val", expected=names[0], got=names[1])
    final_fit = list(range(len(dataset)))
    if val is not None:
        known = {_source(image) for image in dataset.images}
        extra = [image for image in val.images if _source(image) not in known and not limited]
        joined = replace(dataset, images=(*dataset.images, *extra))
        position = {_source(image): i for i, image in enumerate(joined.images)}
        held_out = [position[_source(image)] for image in val.images if _source(image) in position]
        if held_out and not set(final_fit) <= set(held_out):
            among = f" that are among the first {len(final_fit)} of the data" if limited else ""
            logger.info("held out: the images of %s%s", name, among)
            return Split(joined, final_fit, held_out)
    if len(final_fit) < 2:
        raise DataError("too few images", field="data", expected="at least 2, one to be held out", got=len(final_fit))
    which = "every fifth" if len(final_fit) >= HELD_OUT else "the last"
    logger.info("held out: %s image, as %s", which, "there is no val" if val is None else f"{name} has none or all")
    return Split(dataset, final_fit, final_fit[HELD_OUT - 1 :: HELD_OUT] or final_fit[-1:])


def _check_objects(split: Split, named: Sequence[str]) -> None:
    """Log the classes that have no objects in a part; raise DataError if one of `named` has none to train on."""
    missing = _without_objects(split.dataset, split.final_fit)
    for name in missing:
        if name in named:
            raise DataError("class without objects to train on", field="data.classes", got=name)
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


def _source(image: Annotations) -> Path | str:
    """Return the image's file, or a hash of its pixels."""
    return image.path or image.cache_key()


def _read_val(dataset: Dataset, config: TrainConfig) -> Dataset | None:
    """Read the images that `config.val` names. None if it has its default and the data have no such split."""
    data, default = config.data, config.val == TrainConfig.val
    if not config.val or (data.annotations and default):
        return None
    split, annotations = (data.split, config.val) if data.annotations else (config.val, None)
    try:
        val = replace(data, split=split, annotations=annotations, max_images=None)
        return read_dataset(val, dataset.classes)
    except DataError as error:
        if default and error.field == "split":  # not every data set has one
            return None
        raise
