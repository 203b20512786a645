"""Bounds on the memory that a training takes."""

from __future__ import annotations

from dataclasses import replace

from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError

BASE_GB = 1.5  # what training takes beside examples: programs, the network, one image's features


def bound_memory(config: TrainConfig, dimension: int, classes: int) -> TrainConfig:
    """The same, keeping no more examples at once than `config.memory_gb` allows.

    An example takes 2 bytes a feature, and while SVMs are fitted five numbers a class. Box regression keeps examples
    of every class, and two copies of one class's in single precision.
    """
    free = (config.memory_gb - BASE_GB) * 1e9
    examples = int(free / (2 * dimension + 5 * 4 * classes))
    of_a_class = int(free / (2 * dimension * (classes + 4)))
    if of_a_class < 1:
        raise ConfigError("too little", field="memory_gb", expected=f"more than {BASE_GB:g} GB", got=config.memory_gb)
    boxes = config.box_regression
    return replace(
        config,
        svm=replace(config.svm, max_examples=min(config.svm.max_examples, examples)),
        box_regression=replace(boxes, max_per_class=min(boxes.max_per_class, of_a_class)),
    )
