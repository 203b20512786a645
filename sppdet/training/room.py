"""The examples that a training has room for."""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.config.training import BASE_GB, TrainConfig
from sppdet.errors import ConfigError
from sppdet.training.sampling import ImageRegions

logger = logging.getLogger(__name__)

INCLUDED, IMAGE_BYTES = 100_000, 5_000  # images in BASE_GB, and what each other one takes: its path, keys and objects


def bound_memory(config: TrainConfig, dimension: int, classes: int, images: int = 0) -> TrainConfig:
    """Lower the bounds on examples in memory to what `config.memory_gb` allows.

    An example takes 2 bytes per feature, and 20 bytes per class while SVMs are fitted. Box regression keeps examples of
    every class, and two single-precision copies of the examples of one class. Raises ConfigError if none fits.
    """
    base = BASE_GB + max(0, images - INCLUDED) * IMAGE_BYTES / 1e9
    free = (config.memory_gb - base) * 1e9
    examples = int(free / (2 * dimension + 5 * 4 * classes))
    of_a_class = int(free / (2 * dimension * (classes + 4)))
    if of_a_class < 1:
        raise ConfigError("too little", field="memory_gb", expected=f"more than {base:.2g} GB", got=config.memory_gb)
    boxes = config.box_regression
    return replace(
        config,
        svm=replace(config.svm, max_examples=min(config.svm.max_examples, examples)),
        box_regression=replace(boxes, max_per_class=min(boxes.max_per_class, of_a_class)),
    )


def count_objects(regions: Sequence[ImageRegions], images: Sequence[int], classes: int) -> NDArray[np.int64]:
    """Return the number of objects that are not difficult, int64 (K + 1,), by label."""
    objects = np.zeros(classes + 1, dtype=np.int64)
    for image in (regions[i].annotations for i in images):
        objects += np.bincount(image.labels[~image.difficult], minlength=classes + 1)
    return objects


def take_shares(chosen: Tensor, regions: ImageRegions, share: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a random choice of the regions `chosen`, of each label the share (K + 1,) of `leave_room`."""
    labels = regions.annotations.labels[chosen[chosen < regions.num_objects]]
    shares = torch.cat([share[labels], share[:1].expand(len(chosen) - len(labels))])
    return chosen[torch.from_numpy(rng.random(len(chosen))) < shares]


def leave_room(svm: SVMConfig, room: int, objects: NDArray[np.int64], images: int) -> tuple[Tensor, SVMConfig]:
    """Return the share of the objects to take by label, and at 0 that of the random negatives, and bound the latter.

    Half of the room that the objects leave is free for hard negatives. objects: their number by label.
    """
    share, total = np.ones(len(objects)), int(objects.sum())
    if total >= room:
        most = bisect_right(range(room), room // 2, key=lambda n: int(np.minimum(objects, n).sum())) - 1
        if most < 1 and room == svm.max_examples:
            expected = f"at least {2 * (len(objects) - 1)}"
            raise ConfigError("too few", field="svm.max_examples", expected=expected, got=room)
        few = np.minimum(objects, max(0, most))
        share, taken = few / np.maximum(objects, 1), int(few.sum())
        logger.warning("svm.max_examples=%d holds about %d of %d objects", svm.max_examples, taken, total)
        total = taken
    negatives = (room - total) / (2 * max(1, images))
    share[0] = min(1, negatives)
    return torch.from_numpy(share), replace(svm, random_negatives=min(svm.random_negatives, max(1, int(negatives))))
