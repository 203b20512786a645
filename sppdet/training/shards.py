"""The caches of a training filled by several processes, each for its part of the images."""

from dataclasses import replace

import torch

from sppdet.config.shard import Shard
from sppdet.config.training import TrainConfig
from sppdet.data.checks.readable import keep_readable
from sppdet.features.build import build_network
from sppdet.proposals.cache import propose
from sppdet.structures import Dataset
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.hold_out import is_limited, read_sets
from sppdet.training.sampling import Regions


def fill_caches(config: TrainConfig, shard: Shard) -> Dataset:
    """Compute what `train` caches of the images of a shard: proposals, and features of the network before fine-tuning.

    Returns these images, those held out included. Nothing is written to `config.output`. The training then finds them
    on a device of the same kind at the same precision. Raises as `train` does for data, network and proposals.
    """
    sets = [each.dataset for each in read_sets(config)]
    used = sets[:1] if is_limited(config) else sets
    images = {image.path or image.id: image for each in used for image in each.images}  # val may be a part of trainval
    part = replace(sets[0], images=tuple(shard.select(tuple(images.values()))))
    (part,) = keep_readable([part], config.data.skip_unreadable, config.workers)
    torch.manual_seed(config.seed)
    extractor = build_network(config, config.device, config.precision)
    boxes = propose(part.images, config.proposals, config.workers)
    FeatureCache(extractor, Regions(part.images, boxes), config.cache_gb).fill()
    return part
