"""Train a detector."""

from sppdet.commands.summary import Summary, summarize_training
from sppdet.config.shard import read_shard
from sppdet.config.training import TrainConfig
from sppdet.wording import counted


def train(config: TrainConfig, *, shard: str | None = None) -> Summary:
    """Train a detector; repeat the command to resume an interrupted training.

    Parameters come from --config; options such as --features crop --svm.C 0.01 override it wherever they stand.

    Example: sppdet train --config configs/quick.yaml --data.root photos --output runs/mine

    Args:
        config: YAML file of these parameters, such as configs/sppnet_voc07.yaml
        shard: i/n only fills the caches, for images i modulo n
    """
    if part := read_shard(shard):
        from sppdet.training.shards import fill_caches

        images = len(fill_caches(config, part))
        text = f"shard {part}: proposals and features of {counted(images, 'image')} are cached; nothing was trained"
        return Summary({"shard": str(part), "images": images}, text)

    from sppdet.training.train import train as train_detector

    return summarize_training("detector", train_detector(config).classes, config.output)
