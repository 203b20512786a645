"""The picture of the objects that a detector is trained on: classes, sizes, aspect ratios and places."""

from pathlib import Path

import numpy as np

from sppdet.data.checks.picture import plot_boxes
from sppdet.images import read_size
from sppdet.structures import Annotations
from sppdet.training.account import HELD_OUT, TRAINED
from sppdet.training.hold_out import Split


def plot_labels(split: Split, path: Path) -> None:
    """Write a PNG of the objects that are not difficult, those of held-out images apart.

    Raises SppdetError if the file cannot be written.
    """
    images, classes = split.dataset.images, split.dataset.classes
    parts = {TRAINED: split.first_fit, HELD_OUT: split.held_out}
    objects: dict[str, dict[str, int]] = {name: dict.fromkeys(parts, 0) for name in classes}
    boxes, sizes = [np.zeros((0, 4))], [np.zeros((0, 2))]
    for part, indices in parts.items():
        for image in (images[i] for i in indices):
            used = ~image.difficult
            for label in image.labels[used].tolist():
                objects[classes[label - 1]][part] += 1
            if used.any() and (size := _size(image)):
                boxes.append(image.boxes[used].double().numpy())
                sizes.append(np.tile(np.array(size, float), (len(boxes[-1]), 1)))
    plot_boxes(objects, np.concatenate(boxes), np.concatenate(sizes), sum(map(len, parts.values())), path)


def _size(image: Annotations) -> tuple[int, int] | None:
    """Return (width, height)."""
    if image.path:
        return read_size(image.path)
    return image.read().shape[2], image.read().shape[1]
