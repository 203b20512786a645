"""Several images with their detections in one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sppdet.drawing.detections import ScoredBoxes, draw_detections, write_picture
from sppdet.drawing.text import LEGIBLE, measure, write
from sppdet.images import as_image, resize_array, to_array

SHEET_WIDTH, GUTTER = 1500, 12  # pixels; small images are enlarged so that the text on them is legible


def write_contact_sheet(
    path: Path,
    images: Sequence[Tensor],
    detections: Sequence[ScoredBoxes],
    classes: Sequence[str],
    truth: Sequence[ScoredBoxes] | None = None,
) -> None:
    """Draw images uint8 (3, H, W) with their detections into a file. Raises SppdetError if it cannot be written.

    truth: the annotated objects, drawn on a copy of each image to the left of it.
    """
    if truth is None:
        write_picture(path, draw_contact_sheet(list(zip(images, detections, strict=True)), classes))
        return
    pairs = [(image, boxes) for image, *both in zip(images, truth, detections, strict=True) for boxes in both]
    titles = ["ground truth", "detections"] * len(images)
    write_picture(path, draw_contact_sheet(pairs, classes, 4, titles))


def draw_contact_sheet(
    images: Sequence[tuple[Tensor, ScoredBoxes]], classes: Sequence[str], columns: int = 3, titles: Sequence[str] = ()
) -> np.ndarray:
    """Return uint8 (H, SHEET_WIDTH, 3) RGB: images uint8 (3, H, W) with their detections, in rows of `columns`.

    titles: text above each image, if any.
    """
    rows = [
        _draw_row(images[i : i + columns], classes, titles[i : i + columns]) for i in range(0, len(images), columns)
    ]
    gutter = np.full((GUTTER, SHEET_WIDTH, 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gutter)][:-1])


def _draw_row(
    images: Sequence[tuple[Tensor, ScoredBoxes]], classes: Sequence[str], titles: Sequence[str]
) -> np.ndarray:
    """Draw images side by side, resized to one height such that they and the gutters fill SHEET_WIDTH."""
    aspects = np.array([image.shape[2] / image.shape[1] for image, _ in images])
    ends = (SHEET_WIDTH - GUTTER * (len(images) - 1)) * aspects.cumsum() / aspects.sum()
    height = round(ends[-1] / aspects.sum())
    widths = np.diff(ends.round().astype(int), prepend=0).tolist()
    parts = []
    for width, (image, detections) in zip(widths, images, strict=True):
        large = resize_array(to_array(image), height, width)
        scale = torch.tensor([width / image.shape[2], height / image.shape[1]]).repeat(2)
        boxes = [(box * scale, label, score) for box, label, score in detections]
        parts += [draw_detections(as_image(large), boxes, classes), np.full((height, GUTTER, 3), 255, np.uint8)]
    row = np.concatenate(parts[:-1], axis=1)
    if titles:
        strip = np.full((measure("", LEGIBLE)[1], SHEET_WIDTH, 3), 255, np.uint8)
        for left, title in zip(np.cumsum([0, *(width + GUTTER for width in widths)]), titles, strict=False):
            write(strip, int(left), 0, title, LEGIBLE, (255, 255, 255))
        row = np.concatenate([strip, row])
    return row
