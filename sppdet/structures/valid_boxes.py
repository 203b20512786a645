"""The check of annotated boxes that all readers share, so that all data sets are cleaned and reported alike."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sppdet.boxes import clip_boxes
from sppdet.structures.annotations import Annotations, ImageId

logger = logging.getLogger(__name__)

Size = tuple[int, int]  # width and height in pixels
Object = tuple[int, Sequence[float], bool]  # label, box x1 y1 x2 y2, difficult


def annotate_image(
    image: Path, image_id: ImageId, objects: Sequence[Object], size: Size | None, least_side: float, file: Path
) -> Annotations:
    """Annotate an image with those of its objects whose boxes `keep_valid_boxes` keeps. file: where they come from."""
    boxes, kept = keep_valid_boxes([box for _, box, _ in objects], size, least_side, file=file, image=image_id)
    labels = torch.tensor([objects[i][0] for i in kept], dtype=torch.int64)
    return Annotations(image, boxes, labels, torch.tensor([objects[i][2] for i in kept], dtype=torch.bool), image_id)


def keep_valid_boxes(
    boxes: Sequence[Sequence[float]], size: Size | None, least_side: float, *, file: Path, image: ImageId
) -> tuple[Tensor, list[int]]:
    """Return the usable boxes float32 (N, 4), clipped to the image, and their indices in `boxes`.

    boxes: x1 y1 x2 y2, original image, 0-based, half-open. size: (width, height), None if unknown.
    A box is skipped with a logged warning if it is not finite, if a side is not longer than `least_side` pixels, or if
    it lies wholly outside the image.
    """
    given = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    inside = given if size is None else clip_boxes(given, height=size[1], width=size[0])
    finite = given.isfinite().all(dim=1)
    has_area = ((given[:, 2:] - given[:, :2]) > least_side).all(dim=1)
    overlaps = (inside[:, 2:] > inside[:, :2]).all(dim=1)
    valid = finite & has_area & overlaps
    for i in torch.nonzero(~valid).flatten().tolist():
        reason = "not finite" if not finite[i] else "no area" if not has_area[i] else "outside the image"
        corners = ", ".join(f"{value:g}" for value in given[i].tolist())
        logger.warning("%s: image %s, object %d: box (%s) skipped: %s", file, image, i + 1, corners, reason)
    kept = torch.nonzero(valid).flatten()
    return inside[kept], kept.tolist()
