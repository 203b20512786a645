"""The stages of a training, for its progress."""

from sppdet.config.training import TrainConfig
from sppdet.proposals.cache import count_missing
from sppdet.runtime.progress import Stage
from sppdet.training.hold_out import Split

# Seconds per image, measured with SqueezeNet and 1,000 proposals on 2 cores: only their ratios count.
PROPOSALS, FEATURES_PER_SCALE, FEATURES_OF_CROPS, TUNED_IMAGE = 1.0, 0.5, 10.0, 0.8
FIRST_EXAMPLES, HARD_NEGATIVES, SOFTMAX, BOX_REGRESSION, HELD_OUT = 0.2, 0.4, 0.4, 0.2, 0.1


def stages_of(config: TrainConfig, split: Split) -> list[Stage]:
    """Return the stages that a training comes to, if none of its features are cached."""
    first, final, held_out = (len(part) for part in (split.first_fit, split.final_fit, split.held_out))
    images, tuned = len(split.dataset.images), bool(config.finetune.epochs)
    each = FEATURES_OF_CROPS if config.features == "crop" else FEATURES_PER_SCALE * len(config.spp.scales)
    stages = [Stage("proposals", count_missing(split.dataset.images, config.proposals), PROPOSALS)]
    for number, count in enumerate([first] if first == final else [first, final]):
        if not tuned:
            stages += [Stage("features", images, each)] if number == 0 else []
            stages += _heads(config, count, count if number == 0 else held_out)
            stages += [Stage("held-out images", held_out, HELD_OUT)] if number == 0 else []
            continue
        if number == 0:  # before fine-tuning
            stages += [Stage("features", count, each), Stage("softmax examples", count, SOFTMAX)]
            stages += [Stage("box regression examples", count, BOX_REGRESSION)]
        steps = -(-count // config.finetune.batch_size) * config.finetune.epochs
        stages.append(Stage("finetune", steps, TUNED_IMAGE * config.finetune.batch_size))
        if config.head != "softmax":
            stages += [Stage("features", count, each), *_heads(config, count, count)]
        if number == 0:
            stages += [Stage("features", held_out, each), Stage("held-out images", held_out, HELD_OUT)]
    return stages


def _heads(config: TrainConfig, images: int, mined: int) -> list[Stage]:
    """Return the stages of fitting heads to the features of images, of which `mined` were not mined before."""
    if config.head == "softmax":
        stages = [Stage("softmax examples", images, SOFTMAX)]
    else:
        stages = [Stage("first examples", mined, FIRST_EXAMPLES)]
        passes = range(1, config.svm.passes + 1)
        stages += [Stage(f"hard negatives, pass {number}", mined, HARD_NEGATIVES) for number in passes]
    return [*stages, *([Stage("box regression examples", images, BOX_REGRESSION)] * config.box_regression.enabled)]
