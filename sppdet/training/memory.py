"""What a training can be asked for: numbers that can be used, and no more examples than there is memory."""

from __future__ import annotations

from dataclasses import replace

from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError

BASE_GB = 1.5  # what training takes beside examples: programs, the network, one image's features


def check_values(config: TrainConfig) -> None:
    """Raise ConfigError for a number that cannot be used."""
    svm, finetune, softmax = config.svm, config.finetune, config.softmax
    if not 0 <= finetune.dropout < 1:
        raise ConfigError("out of range", field="finetune.dropout", expected="from 0 to below 1", got=finetune.dropout)
    if finetune.epochs and config.precision == "fp16":
        raise ConfigError("too small a range for gradients", field="precision", expected="fp32 or bf16", got="fp16")
    if min(finetune.scales, default=1) < 1:
        raise ConfigError("no usable scale", field="finetune.scales", expected="pixels", got=finetune.scales)
    at_least_0 = {
        "seed": config.seed,
        "finetune.epochs": finetune.epochs,
        "finetune.learning_rate": finetune.learning_rate,
        "finetune.weight_decay": finetune.weight_decay,
    }
    for field, number in at_least_0.items():
        if number < 0:
            raise ConfigError("out of range", field=field, expected="at least 0", got=number)
    positive = {
        "svm.C": svm.C,
        "svm.feature_norm": svm.feature_norm,
        "svm.max_examples": svm.max_examples,
        "softmax.regions_per_image": softmax.regions_per_image,
        "box_regression.ridge": config.box_regression.ridge,
        "finetune.batch_size": finetune.batch_size,
        "finetune.regions_per_image": finetune.regions_per_image,
        "finetune.feature_norm": finetune.feature_norm,
        "finetune.clip": finetune.clip,
    }
    for field, value in positive.items():
        if value <= 0:
            raise ConfigError("out of range", field=field, expected="more than 0", got=value)
    if finetune.epochs and not finetune.blocks and not config.fc.depth:
        expected = "at least 1, or a fc.depth of 1 or 2"
        raise ConfigError("leaves nothing to fine-tune", field="finetune.blocks", expected=expected, got=0)


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
