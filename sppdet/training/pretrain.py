"""Training a small network as a classifier of ground-truth crops, with the spatial pyramid on top (SPPnet, section 3).

It gives the convolutions of a detector for data that no pretrained network fits, such as the generated shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from sppdet.backbones.backbone import Backbone
from sppdet.boxes import box_iou
from sppdet.errors import SppdetError
from sppdet.images import normalise, read_image, resize_array, to_array
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.structures import Dataset

log = logging.getLogger("sppdet")


@dataclass(frozen=True)
class Pretraining:
    """How the classifier is trained.

    sizes: crops' sides in pixels; epochs alternate between them, with one set of weights (section 3, multi-size
    training). context: a crop shows the box and up to this share of its sides around it. background: crops of
    background for each object.
    """

    epochs: int = 44
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    sizes: tuple[int, ...] = (64, 80, 96, 112)
    context: float = 0.2
    background: float = 0.75


def pretrain(
    backbone: Backbone, pyramid: SpatialPyramidPooling, dataset: Dataset, settings: Pretraining, seed: int
) -> None:
    """Train the backbone in place to tell the classes and background apart; its classifier is thrown away.

    Raises SppdetError where the loss is not finite.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = [to_array(read_image(image.path)) for image in dataset.images]
    head = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(pyramid.out_features(backbone.channels), len(dataset.classes) + 1)
    ).to(backbone.device)
    backbone.requires_grad_(True).train()
    parameters = [*backbone.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    counts = [len(image.boxes) for image in dataset.images]
    crops_an_epoch = sum(count + round(count * settings.background) for count in counts)
    steps = -(-crops_an_epoch // settings.batch)  # or a few less, where an image has no room for background
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * steps
    )
    with trange(settings.epochs, desc="pretraining", unit="epoch") as bar:
        for epoch in bar:
            size = settings.sizes[epoch % len(settings.sizes)]
            right = seen = 0
            for crops, labels in _batches(images, dataset, size, settings, rng):
                pixels = normalise(crops.to(backbone.device), backbone.mean, backbone.std)
                logits = head(pyramid(backbone(pixels)))  # (B, K + 1)
                loss = F.cross_entropy(logits, labels.to(backbone.device), label_smoothing=0.05)
                if not torch.isfinite(loss):
                    raise SppdetError("the loss is not finite", field="pretraining", got=float(loss.detach()))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                right += int((logits.argmax(1).cpu() == labels).sum())
                seen += len(labels)
            bar.set_postfix(accuracy=f"{right / seen:.3f}")
    log.info("pretraining: %.3f of the last epoch's crops classified rightly", right / seen)
    backbone.requires_grad_(False).eval()


def _batches(
    images: list[np.ndarray], dataset: Dataset, size: int, settings: Pretraining, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of crops uint8 (B, 3, size, size) with labels int64 (B,), 0 for background, in random order."""
    crops, labels = [], []
    for image, objects in zip(images, dataset.images, strict=True):
        boxes = objects.boxes.double().numpy()
        for box, label in zip(boxes, objects.labels.tolist(), strict=True):
            crops.append(_crop(image, _with_context(box, settings.context, rng), size, rng))
            labels.append(label)
        for box in _background_boxes(image, objects.boxes, round(len(boxes) * settings.background), rng):
            crops.append(_crop(image, box, size, rng))
            labels.append(0)
    order = rng.permutation(len(crops))
    for start in range(0, len(order), settings.batch):
        chosen = order[start : start + settings.batch].tolist()
        stacked = torch.from_numpy(np.stack([crops[i] for i in chosen])).permute(0, 3, 1, 2)
        yield stacked, torch.tensor([labels[i] for i in chosen])


def _with_context(box: np.ndarray, context: float, rng: np.random.Generator) -> np.ndarray:
    """The box with each side moved outwards by up to `context` of its length, or inwards by a little."""
    size = np.tile(box[2:] - box[:2], 2)
    return box + np.array([-1, -1, 1, 1]) * rng.uniform(-0.05, context, 4) * size


def _background_boxes(image: np.ndarray, objects: Tensor, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random boxes whose IoU with every object is below 0.3; parts and neighbourhoods of objects are among them."""
    height, width = image.shape[:2]
    found = 0
    for _ in range(20 * count):
        if found == count:
            return
        size = np.exp(rng.uniform(np.log(16), np.log(min(height, width)), 2))
        start = rng.uniform(0, np.maximum([width, height] - size, 1))
        box = np.concatenate([start, start + size])
        if len(objects) == 0 or float(box_iou(torch.from_numpy(box)[None], objects.double()).max()) < 0.3:
            found += 1
            yield box


def _crop(image: np.ndarray, box: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The box's part of the image, resized to size x size, turned by a random multiple of 90 degrees and mirrored."""
    height, width = image.shape[:2]
    x1, y1 = np.clip(box[:2].round().astype(int), 0, [width - 2, height - 2])
    x2, y2 = np.maximum(np.clip(box[2:].round().astype(int), 0, [width, height]), [x1 + 1, y1 + 1])
    crop = np.rot90(resize_array(np.ascontiguousarray(image[y1:y2, x1:x2]), size, size), int(rng.integers(4)))
    return crop[:, ::-1] if rng.integers(2) else crop
