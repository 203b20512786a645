"""The objects or detections of all images as columns, one image after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppdet.structures.annotations import Annotations
from sppdet.structures.detections import Detections


class Joined(NamedTuple):
    """images, places: index of the image, and of the row in that image."""

    images: NDArray[np.int64]  # (N,)
    places: NDArray[np.int64]  # (N,)
    labels: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.float32]  # (N, 4)

    @classmethod
    def of(cls, of_images: Sequence[Annotations | Detections]) -> Joined:
        counts = np.array([len(each.labels) for each in of_images], dtype=np.int64)
        images = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(len(images)) - np.repeat(counts.cumsum() - counts, counts)
        labels = join((each.labels for each in of_images), np.zeros(0, np.int64))
        boxes = join((each.boxes for each in of_images), np.zeros((0, 4), np.float32))
        return cls(images, places, labels, boxes)


def join(tensors: Iterable[Tensor], empty: NDArray[Any]) -> NDArray[Any]:
    """Concatenate tensors, of which there may be none. empty: an array of their type and shape without rows."""
    return np.concatenate([empty, *(tensor.cpu().numpy() for tensor in tensors)])
