"""Train a detector."""

from sppdet.commands.summary import Summary, summarize_training
from sppdet.config.training import TrainConfig


def train(config: TrainConfig) -> Summary:
    """Train a detector; repeat the command to resume an interrupted training.

    Parameters come from --config; options such as --features crop --svm.C 0.01 override it wherever they stand.

    Args:
        config: YAML file of these parameters, such as configs/sppnet_voc07.yaml
    """
    from sppdet.training.train import train as train_detector

    return summarize_training("detector", train_detector(config).classes, config.output)
