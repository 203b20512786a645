"""Training of a small network to classify crops of objects and background (SPPnet, section 3).

It gives the convolutions of a detector for data that no pretrained network fits, such as the generated shapes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sppdet.boxes import box_iou
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.epochs import Batch
from sppdet.classification.training import fit
from sppdet.config.classification import ClassifierConfig, FitConfig
from sppdet.config.network import Device, NetworkConfig
from sppdet.images import resize_array, to_array
from sppdet.structures import Dataset


@dataclass(frozen=True)
class Pretraining:
    """Settings of the training.

    sizes: sides of the crops in pixels; epochs alternate between them (section 3, multi-size training). context:
    largest margin around a box, as a fraction of its sides. background: number of background crops per object.
    """

    sizes: tuple[int, ...] = (64, 80, 96, 112)
    context: float = 0.2
    background: float = 0.75
    dropout: float = 0.2
    fit: FitConfig = field(default_factory=lambda: FitConfig(44, 32, "adamw", 3e-3, 1e-2, label_smoothing=0.05))


def pretrain(
    config: NetworkConfig, dataset: Dataset, settings: Pretraining, seed: int, file: Path, device: Device = "auto"
) -> Classifier:
    """Train a network, from the weights that `config` names, to classify crops of the classes and background.

    file: the checkpoint from which an interrupted training resumes. Raises SppdetError if the loss is not finite.
    """
    torch.manual_seed(seed)
    parts = ClassifierConfig(config.backbone, config.pyramid, config.fc, "warp", settings.sizes)
    classifier = new_classifier(parts, ("background", *dataset.classes), device, dropout=settings.dropout)
    classifier.unfreeze(blocks=None)
    images = [to_array(image.read()) for image in dataset.images]

    def crops(epoch: int) -> Iterator[Batch]:
        size = settings.sizes[epoch % len(settings.sizes)]
        return _batches(images, dataset, size, settings, np.random.default_rng([seed, epoch]))

    counts = [len(image.boxes) for image in dataset.images]
    crops_an_epoch = sum(count + round(count * settings.background) for count in counts)
    steps = -(-crops_an_epoch // settings.fit.batch_size)  # or slightly fewer, if an image has no room for background
    fit(classifier, crops, steps, settings.fit, seed, file)
    return classifier


def _batches(
    images: list[np.ndarray], dataset: Dataset, size: int, settings: Pretraining, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of crops uint8 (B, 3, size, size) and labels int64 (B,), 0 for background, in random order."""
    crops, labels = [], []
    outwards = np.array([-1, -1, 1, 1])
    for image, objects in zip(images, dataset.images, strict=True):
        boxes = objects.boxes.double().numpy()
        for box, label in zip(boxes, objects.labels.tolist(), strict=True):
            # Each side moves outwards by up to `context` of its length, or slightly inwards.
            moved = box + outwards * rng.uniform(-0.05, settings.context, 4) * np.tile(box[2:] - box[:2], 2)
            crops.append(_crop(image, moved, size, rng))
            labels.append(label)
        for box in _background_boxes(image, objects.boxes, round(len(boxes) * settings.background), rng):
            crops.append(_crop(image, box, size, rng))
            labels.append(0)
    order = rng.permutation(len(crops))
    for start in range(0, len(order), settings.fit.batch_size):
        chosen = order[start : start + settings.fit.batch_size].tolist()
        stacked = torch.from_numpy(np.stack([crops[i] for i in chosen])).permute(0, 3, 1, 2)
        yield stacked, torch.tensor([labels[i] for i in chosen])


def _background_boxes(image: np.ndarray, objects: Tensor, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield random boxes with an IoU below 0.3 with every object, parts and surroundings of objects among them."""
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
    """Return the crop of a box, resized to size x size, rotated by a random multiple of 90 degrees, maybe mirrored."""
    height, width = image.shape[:2]
    x1, y1 = np.clip(box[:2].round().astype(int), 0, [width - 2, height - 2])
    x2, y2 = np.maximum(np.clip(box[2:].round().astype(int), 0, [width, height]), [x1 + 1, y1 + 1])
    crop = np.rot90(resize_array(np.ascontiguousarray(image[y1:y2, x1:x2]), size, size), int(rng.integers(4)))
    return crop[:, ::-1] if rng.integers(2) else crop
