"""Which images heads are fitted on, and which are held out to choose thresholds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.errors import DataError
from sppdet.structures import Annotations, Dataset

logger = logging.getLogger(__name__)

HELD_OUT = 5  # without a val split, every fifth image is held out


def hold_out(dataset: Dataset, config: TrainConfig) -> tuple[Dataset, list[int], list[int]]:
    """The images of the training split and of val in one data set, and the positions of each."""
    fitted = list(range(len(dataset)))
    val = _read_val(dataset, config)
    if val is not None:
        known = {_source(image) for image in dataset.images}
        limited = config.data.max_images is not None
        extra = [image for image in val.images if _source(image) not in known and not limited]
        joined = replace(dataset, images=(*dataset.images, *extra))
        position = {_source(image): i for i, image in enumerate(joined.images)}
        held_out = [position[_source(image)] for image in val.images if _source(image) in position]
        if held_out and not set(fitted) <= set(held_out):
            among = f" that are among the first {len(fitted)} of the data" if limited else ""
            logger.info("held out: the images of %s%s", config.val, among)
            return joined, fitted, held_out
    if len(fitted) < 2:
        raise DataError("too few images", field="data", expected="at least 2, one to be held out", got=len(fitted))
    which = "every fifth" if len(fitted) >= HELD_OUT else "the last"
    logger.info(
        "held out: %s image, as %s", which, "there is no val" if val is None else f"{config.val} has none or all"
    )
    return dataset, fitted, fitted[HELD_OUT - 1 :: HELD_OUT] or fitted[-1:]


def _source(image: Annotations) -> Path | str:
    """The image's file, or a key of its pixels."""
    return image.path or image.cache_key()


def _read_val(dataset: Dataset, config: TrainConfig) -> Dataset | None:
    """The images thresholds are chosen on, or None where the data have no default val split."""
    data = replace(config.data, max_images=None)
    default = config.val == TrainConfig.val
    if not config.val or (data.annotations and default):
        return None
    if data.annotations:
        return read_dataset(replace(data, annotations=config.val), dataset.classes)
    try:
        return read_dataset(replace(data, split=config.val), dataset.classes)
    except DataError as error:
        if default and error.field == "split":  # a data set of one's own need not have it
            return None
        raise
