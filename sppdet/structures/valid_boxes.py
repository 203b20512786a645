"""The check of annotated boxes that all readers share, so that all data sets are cleaned and reported alike."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sppdet.boxes import clip_boxes
from sppdet.structures.annotations import Annotations, ImageId

logger = logging.getLogger(__name__)

Size = tuple[int, int]  # width and height in pixels
Object = tuple[int, Sequence[float], bool]  # label, box x1 y1 x2 y2, difficult
Report = Callable[[int, str, str], None]  # takes the index of a box, why it is skipped, and a message


def annotate_image(
    image: Path,
    image_id: ImageId,
    objects: Sequence[Object],
    size: Size | None,
    least_side: float,
    file: Path,
) -> Annotations:
    """Annotate an image with those of its objects whose boxes `keep_valid_boxes` keeps. file: where they come from."""
    given = [box for _, box, _ in objects]
    boxes, kept = keep_valid_boxes(given, size, least_side, file=file, image=image_id)
    labels = torch.tensor([objects[i][0] for i in kept], dtype=torch.int64)
    return Annotations(image, boxes, labels, torch.tensor([objects[i][2] for i in kept], dtype=torch.bool), image_id)


def keep_valid_boxes(
    boxes: Sequence[Sequence[float]],
    size: Size | None,
    least_side: float,
    *,
    file: Path,
    image: ImageId,
    report: Report | None = None,
) -> tuple[Tensor, list[int]]:
    """Return the usable boxes float32 (N, 4), clipped to the image, and their indices in `boxes`.

    boxes: x1 y1 x2 y2, original image, 0-based, half-open. size: (width, height), None if unknown.
    A box is skipped with a logged warning if it is not finite, reversed (x2 < x1), if a side is not longer than
    `least_side` pixels, or if it lies wholly outside the image; `report`, if given, takes the place of the log.
    """
    given = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    inside = given if size is None else clip_boxes(given, height=size[1], width=size[0])
    finite = given.isfinite().all(dim=1)
    sides = given[:, 2:] - given[:, :2]
    has_area = (sides > least_side).all(dim=1)
    overlaps = (inside[:, 2:] > inside[:, :2]).all(dim=1)
    valid = finite & has_area & overlaps
    for i in torch.nonzero(~valid).flatten().tolist():
        reason = _reason(bool(finite[i]), sides[i].tolist(), bool(has_area[i]))
        corners = ", ".join(f"{value:g}" for value in given[i].tolist())
        message = f"box ({corners}) skipped: {reason}"
        if report:
            report(i, reason, message)
        else:
            logger.warning("%s: image %s, object %d: %s", file, image, i + 1, message)
    kept = torch.nonzero(valid).flatten()
    return inside[kept], kept.tolist()


def _reason(finite: bool, sides: Sequence[float], has_area: bool) -> str:
    if not finite:
        return "not finite"
    return "reversed" if min(sides) < 0 else "outside the image" if has_area else "no area"
