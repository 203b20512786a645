"""Fine-tuning by gradient descent, before the final heads are fitted.

It trains the fully connected layers alone (SPPnet, section 4.1), or also the convolutions, through the pooling (Fast
R-CNN, section 2.3). The loss is softmax plus smooth L1 over a few images per step, their regions sampled as in SPPnet.
It starts from heads fitted to the untuned features, so that the gradients are useful from the first step.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.boxes import encode_boxes, mirror_boxes
from sppdet.config.heads import SoftmaxConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.features.extractor import FeatureExtractor
from sppdet.files.checkpoint import load_checkpoint, save_checkpoint
from sppdet.heads.linear import Heads
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.ranks import rank, spread, world
from sppdet.training.gradient_descent import Descent, Loss, descend, scale_to_norm
from sppdet.training.sampling import ImageRegions, softmax_examples

# Offsets are divided by these before their loss, so that each weighs about as much as a class (Fast R-CNN's code).
OFFSET_SCALES = (0.1, 0.1, 0.2, 0.2)
MOMENTUM = 0.9
NORM_IMAGES = 16  # for the mean norm of the features
WARM_UP = 0.05  # fraction of the steps in which the learning rate rises


@dataclass(frozen=True, eq=False)
class ImageSample:
    """One image of a batch and its sampled regions.

    pixels: uint8 (3, H, W). boxes: float32 (n, 4), in pixels. labels: int64 (n,), 0 for background. targets: float32
    (n, 4), offsets to the matched object, 0 for background. scale_position: position in [0, 1) in the list of scales,
    random during fine-tuning; at test time the best scale is chosen for each window (SPPnet, section 4.1). seed: of its
    dropout.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    targets: Tensor
    scale_position: float
    seed: int


# The samples of this rank, and the number of images of all.
Batch = tuple[list[ImageSample], int]


def finetune(
    extractor: FeatureExtractor,
    heads: Heads,
    regions: Sequence[ImageRegions],
    config: TrainConfig,
    file: Path,
    start: Path,
) -> None:
    """Train the last blocks of the network, its fully connected layers and the heads in place on these images.

    file, start: checkpoints of the last epoch, from which an interrupted call resumes, and of the start, written if it
    is missing. Raises ConfigError if the network has fewer blocks, SppdetError if the training diverges.
    """
    settings, seed = config.finetune, config.seed
    softmax = replace(config.softmax, regions_per_image=settings.regions_per_image)
    convolutions = last_conv_blocks(extractor.backbone, settings.blocks, "finetune.blocks")
    layers = nn.ModuleList(extractor.layers or [])
    heads.rescale(1.0)  # checkpoints hold the scale
    trained = nn.ModuleDict({"convolutions": convolutions, "layers": layers, "heads": heads}).requires_grad_(True)
    optimizer = SGD(trained.parameters(), settings.learning_rate, MOMENTUM, weight_decay=settings.weight_decay)
    if not start.is_file():

        def untuned(i: int) -> tuple[Tensor]:
            sample = sample_image(regions[i], settings, softmax, np.random.default_rng([seed, i]))
            return (_features(extractor, sample, dropout=0.0),)

        features = (rows for (rows,) in spread(range(len(regions))[:NORM_IMAGES], untuned))
        heads.rescale(scale_to_norm(settings.feature_norm, features))
        save_checkpoint(start, trained, optimizer, {})
    load_checkpoint(start, trained, optimizer)
    steps = -(-len(regions) // settings.batch_size)
    scheduler = LambdaLR(optimizer, lambda step: _schedule((step + 1) / (settings.epochs * steps)))

    def losses(batch: Batch) -> Iterator[Loss]:
        own, images = batch
        for sample in own:  # one after the other: their sizes differ
            torch.manual_seed(sample.seed)
            yield _loss(extractor, heads, sample, settings.dropout) / (images * softmax.regions_per_image), {}

    batches = partial(_batches, regions, settings, softmax, seed)
    course = Descent("finetune", settings.epochs, steps, seed, file, settings.clip, divided=True)
    descend(trained, optimizer, scheduler, batches, losses, course)
    trained.requires_grad_(False)
    heads.fold_scale()


def _batches(
    regions: Sequence[ImageRegions], finetune: FinetuneConfig, softmax: SoftmaxConfig, seed: int, epoch: int
) -> Iterator[Batch]:
    """Yield an epoch of the images in random order; the next batch is read while the caller works on one."""
    order = np.random.default_rng([seed, epoch]).permutation(len(regions)).tolist()

    def read(start: int) -> Batch:
        chosen = order[start : start + finetune.batch_size]
        rngs = {i: np.random.default_rng([seed, epoch, i]) for i in chosen[rank() :: world()]}
        return [sample_image(regions[i], finetune, softmax, rng) for i, rng in rngs.items()], len(chosen)

    return prefetch(range(0, len(order), finetune.batch_size), read)


def sample_image(
    regions: ImageRegions, finetune: FinetuneConfig, softmax: SoftmaxConfig, rng: np.random.Generator
) -> ImageSample:
    """Read an image and sample its regions; half of the images are mirrored."""
    indices, labels = softmax_examples(regions, softmax, rng)
    pixels, boxes = regions.annotations.read(), regions.boxes[indices]
    targets = torch.zeros(len(boxes), 4)
    is_object = labels > 0
    objects = regions.match()[1][indices[is_object]]
    targets[is_object] = encode_boxes(boxes[is_object], regions.annotations.boxes[objects])
    if finetune.flip and rng.random() < 0.5:
        boxes, targets = mirror_boxes(boxes, pixels.shape[2]), targets * torch.tensor([-1.0, 1, 1, 1])
        pixels = pixels.flip(2)
    return ImageSample(pixels, boxes, labels, targets, float(rng.random()), int(rng.integers(2**63)))


def _features(extractor: FeatureExtractor, sample: ImageSample, dropout: float) -> Tensor:
    features = extractor.pool(sample.pixels, sample.boxes, sample.scale_position)  # (n, pooled_dimension)
    return F.dropout(features, dropout) if extractor.layers is None else extractor.layers(features, dropout)


def _loss(extractor: FeatureExtractor, heads: Heads, sample: ImageSample, dropout: float) -> Tensor:
    """Return the sum of both losses over the regions."""
    logits, offsets = heads.split(heads(_features(extractor, sample, dropout)))
    assert offsets is not None
    labels = sample.labels.to(logits.device)
    foreground = labels.nonzero().flatten()
    scales = offsets.new_tensor(OFFSET_SCALES)
    moved = offsets[foreground, labels[foreground] - 1] / scales
    targets = sample.targets.to(scales)[foreground] / scales
    return F.cross_entropy(logits, labels, reduction="sum") + F.smooth_l1_loss(moved, targets, reduction="sum")


def _schedule(done: float) -> float:
    """Return the factor of the learning rate after this fraction of the steps: a linear rise, then half a cosine."""
    return done / WARM_UP if done < WARM_UP else 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))
