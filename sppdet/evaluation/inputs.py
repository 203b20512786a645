"""What every evaluation asks of its arguments before it counts anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sppdet.errors import InputError
from sppdet.structures import Annotations, Detections


def check_detections(detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there is one Detections per image, labels lie in 1..K and no score is NaN."""
    check_images(len(detections), images, classes)
    for image, found in zip(images, detections, strict=True):
        _check_labels(found.labels, f"detections of image {image.id}", len(classes))
        if torch.isnan(found.scores).any():
            raise InputError("not a number", field=f"scores of image {image.id}")


def check_images(count: int, images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there are `count` images and their labels lie in 1..K."""
    if count != len(images):
        raise InputError("not one entry per image", expected=f"{len(images)} entries", got=count)
    for image in images:
        _check_labels(image.labels, f"annotations of image {image.id}", len(classes))


def check_iou(iou: float) -> None:
    """Raise InputError unless this threshold of intersection over union lies in (0, 1]."""
    if not 0 < iou <= 1:
        raise InputError("out of range", field="iou", expected="0 < iou <= 1", got=iou)


def _check_labels(labels: torch.Tensor, field: str, classes: int) -> None:
    wrong = labels[(labels < 1) | (labels > classes)]
    if len(wrong):
        raise InputError("label of no class", field=field, expected=f"1..{classes}", got=int(wrong[0]))
