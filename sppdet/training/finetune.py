"""Fine-tuning by gradient descent, before the heads are fitted for good.

The fully connected layers alone (SPPnet, section 4.1), or through the pooling into the convolutions as well (Fast
R-CNN, section 2.3): softmax and smooth-L1 losses together, a few images a step, their regions sampled as SPPnet's. It
starts from heads fitted to the features as they are, so that the first steps change features that are already of use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from sppdet.backbones.blocks import last_conv_blocks
from sppdet.boxes import encode_boxes
from sppdet.config.training import FinetuneConfig, SoftmaxConfig, TrainConfig
from sppdet.features.extractor import FeatureExtractor
from sppdet.files.checkpoint import load_checkpoint, save_checkpoint
from sppdet.heads.linear import Heads
from sppdet.runtime.prefetch import prefetch
from sppdet.training.gradient_descent import Descent, Loss, descend, scale_to_norm
from sppdet.training.sampling import LabeledProposals, softmax_examples

# Offsets are divided by these before their loss, so that all four count about as much as a class (Fast R-CNN's code).
OFFSET_SCALES = (0.1, 0.1, 0.2, 0.2)
MOMENTUM = 0.9
NORM_IMAGES = 16  # from whose regions the features' mean norm is taken
WARM_UP = 0.05  # share of the steps over which the learning rate rises


@dataclass(frozen=True, eq=False)
class ImageSample:
    """One image's share of a step: pixels uint8 (3, H, W), boxes float32 (n, 4) in it, labels int64 (n,), 0 for
    background, box regression targets float32 (n, 4), zeros for background, and a number in [0, 1) that chooses the
    scale: it is random while fine-tuning, the best of each window otherwise (SPPnet, section 4.1)."""

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    targets: Tensor
    scale: float


def finetune(
    source: FeatureExtractor,
    heads: Heads,
    regions: Sequence[LabeledProposals],
    training: TrainConfig,
    file: Path,
    start: Path,
) -> None:
    """Train the network and the layers of `source`, and the heads, in place, on the regions of these images.

    After every epoch all that changed is written to `file`, from where an interrupted run goes on, and the loss of each
    step is drawn beside it. The file `start` holds what it begins with: as given where there is none yet. Raises
    ConfigError for a number of blocks that the network does not have, SppdetError where it diverges.
    """
    config, seed = training.finetune, training.seed
    sampling = replace(training.softmax, regions_per_image=config.regions_per_image)
    parts = {
        "convolutions": last_conv_blocks(source.backbone, config.blocks, "finetune.blocks"),
        "layers": nn.ModuleList(source.layers or []),
        "heads": heads,
    }
    heads.rescale(1.0)  # checkpoints hold the scale
    trained = nn.ModuleDict(parts).requires_grad_(True)
    weights, rate = list(trained.parameters()), config.learning_rate
    optimizer = torch.optim.SGD(weights, lr=rate, momentum=MOMENTUM, weight_decay=config.weight_decay)
    if not start.is_file():
        first = regions[:NORM_IMAGES]
        few = (sample_image(image, config, sampling, np.random.default_rng([seed, i])) for i, image in enumerate(first))
        norm = config.feature_norm
        heads.rescale(scale_to_norm(norm, (_features(source, examples, dropout=0.0) for examples in few)))
        save_checkpoint(start, trained, optimizer, {})
    load_checkpoint(start, trained, optimizer)
    steps = -(-len(regions) // config.batch_size)
    scheduler = LambdaLR(optimizer, lambda step: _schedule((step + 1) / (config.epochs * steps)))

    def losses(batch: list[ImageSample]) -> Iterator[Loss]:
        for examples in batch:  # one after the other: their sizes differ
            yield _loss(source, heads, examples, config.dropout) / (len(batch) * sampling.regions_per_image), {}

    def batches(epoch: int) -> Iterator[list[ImageSample]]:
        return _batches(regions, config, sampling, [seed, epoch])

    course = Descent("finetune", config.epochs, steps, seed, file, config.clip)
    descend(trained, optimizer, scheduler, batches, losses, course)
    trained.requires_grad_(False)
    heads.fold_scale()


def _batches(
    regions: Sequence[LabeledProposals],
    config: FinetuneConfig,
    sampling: SoftmaxConfig,
    seed: list[int],
) -> Iterator[list[ImageSample]]:
    """Yield an epoch of the images in random order; the next batch is read while the caller works on one."""
    order = np.random.default_rng(seed).permutation(len(regions)).tolist()

    def read(start: int) -> list[ImageSample]:
        chosen = order[start : start + config.batch_size]
        return [sample_image(regions[i], config, sampling, np.random.default_rng([*seed, i])) for i in chosen]

    return prefetch(range(0, len(order), config.batch_size), read)


def sample_image(
    regions: LabeledProposals, config: FinetuneConfig, sampling: SoftmaxConfig, rng: np.random.Generator
) -> ImageSample:
    """Read an image and draw its regions, mirrored half of the time."""
    indices, labels = softmax_examples(regions, sampling, rng)
    pixels, boxes = regions.annotations.read(), regions.boxes[indices]
    targets = torch.zeros(len(boxes), 4)
    found = labels > 0
    objects = regions.match()[1][indices[found]]
    targets[found] = encode_boxes(boxes[found], regions.annotations.boxes[objects])
    if config.flip and rng.random() < 0.5:
        pixels, boxes, targets = pixels.flip(2), boxes.clone(), targets * torch.tensor([-1.0, 1, 1, 1])
        boxes[:, [0, 2]] = pixels.shape[2] - boxes[:, [2, 0]]
    return ImageSample(pixels, boxes, labels, targets, float(rng.random()))


def _features(source: FeatureExtractor, examples: ImageSample, dropout: float) -> Tensor:
    features = source.pool(examples.pixels, examples.boxes, examples.scale)  # (n, pooled)
    return F.dropout(features, dropout) if source.layers is None else source.layers(features, dropout)


def _loss(source: FeatureExtractor, heads: Heads, examples: ImageSample, dropout: float) -> Tensor:
    """The sum over the regions of both losses."""
    logits, offsets = heads.split(heads(_features(source, examples, dropout)))
    assert offsets is not None
    labels = examples.labels.to(logits.device)
    found = labels.nonzero().flatten()
    scales = offsets.new_tensor(OFFSET_SCALES)
    moved, targets = offsets[found, labels[found] - 1] / scales, examples.targets.to(scales)[found] / scales
    return F.cross_entropy(logits, labels, reduction="sum") + F.smooth_l1_loss(moved, targets, reduction="sum")


def _schedule(done: float) -> float:
    """The share of the learning rate after this share of the steps: up in a line, then down along a cosine."""
    return done / WARM_UP if done < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))
