"""The objects or detections of all images as columns, one image after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppdet.structures.annotations import Annotations
from sppdet.structures.detections import Detections


class Joined(NamedTuple):
    """images, places: index of the image, and of the row in that image. values: difficult of objects (bool), scores of
    detections (float32)."""

    images: NDArray[np.int64]  # (N,)
    places: NDArray[np.int64]  # (N,)
    labels: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.float32]  # (N, 4)
    values: NDArray[Any]  # (N,)


def join_objects(images: Sequence[Annotations]) -> Joined:
    return _join(images, [image.difficult for image in images], bool)


def join_detections(detections: Sequence[Detections]) -> Joined:
    return _join(detections, [found.scores for found in detections], np.float32)


def _join(of_images: Sequence[Annotations | Detections], values: Sequence[Tensor], dtype: type) -> Joined:
    counts = np.array([len(each.labels) for each in of_images], dtype=np.int64)
    images = np.repeat(np.arange(len(counts)), counts)
    places = np.arange(len(images)) - np.repeat(counts.cumsum() - counts, counts)
    labels = _concatenate([each.labels for each in of_images], np.zeros(0, np.int64))
    boxes = _concatenate([each.boxes for each in of_images], np.zeros((0, 4), np.float32))
    return Joined(images, places, labels, boxes, _concatenate(values, np.zeros(0, dtype)))


def _concatenate(tensors: Sequence[Tensor], empty: NDArray[Any]) -> NDArray[Any]:
    """Concatenate tensors of the type and shape of `empty`, of which there may be none."""
    return np.concatenate([empty, *(tensor.cpu().numpy() for tensor in tensors)])
