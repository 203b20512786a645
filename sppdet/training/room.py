"""The examples that a training has room for."""

from dataclasses import replace

from sppdet.config.training import BASE_GB, TrainConfig
from sppdet.errors import ConfigError

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
