"""Detections drawn on their image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from sppdet.files.atomic import write_atomically
from sppdet.images import to_array
from sppdet.structures import Detections

FONT = cv2.FONT_HERSHEY_SIMPLEX
Corners = tuple[int, int, int, int]  # x1 y1 x2 y2, of a box or of the plate its text stands on


def draw_detections(image: Tensor, detections: Detections, classes: Sequence[str]) -> np.ndarray:
    """uint8 (H, W, 3) RGB: the image uint8 (3, H, W) with each box, its class and its score, the best on top."""
    canvas = to_array(image).copy()
    scale = max(min(canvas.shape[:2]) / 400, 0.4)
    labels, scores = detections.labels.tolist(), detections.scores.tolist()
    boxes: list[Corners] = [(x1, y1, x2, y2) for x1, y1, x2, y2 in detections.boxes.round().int().tolist()]
    texts = [f"{classes[k - 1]} {score:z.2f}" for k, score in zip(labels, scores, strict=True)]
    colors = [class_color(k, len(classes)) for k in labels]
    size = scale / 2
    widest = max((_measure(text, size)[0] for text in texts), default=0)
    size *= min(1.0, canvas.shape[1] / max(widest, 1))
    plates: list[Corners] = []
    for box, text in zip(boxes, texts, strict=True):
        plates.append(_place(box, _measure(text, size), (canvas.shape[0], canvas.shape[1]), plates))
    for (x1, y1, x2, y2), color in reversed(list(zip(boxes, colors, strict=True))):
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, max(1, round(2 * scale)))
    for plate, text, color in reversed(list(zip(plates, texts, colors, strict=True))):
        _write(canvas, plate, text, size, color)
    return canvas


def class_color(label: int, classes: int) -> tuple[int, int, int]:
    """A color of its own, RGB 0..255, for each label in 1..K."""
    red, green, blue = colorsys.hsv_to_rgb((label - 1) / max(classes, 1), 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def write_picture(path: str | PathLike[str], picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB to an image file, atomically."""
    from PIL import Image

    write_atomically(Path(path), lambda temporary: Image.fromarray(picture).save(temporary, quality=92, subsampling=0))


def _place(box: Corners, size: tuple[int, int], canvas: tuple[int, int], taken: Sequence[Corners]) -> Corners:
    """Where a plate of (width, height) goes: above its box, inside it or below it, the first place in the canvas (H, W)
    that no other plate has."""
    (width, height), (x1, y1, _, y2) = size, box
    left = min(max(x1, 0), max(canvas[1] - width, 0))
    lowest = max(canvas[0] - height, 0)
    places = [
        (left, top, left + width, top + height)
        for top in (y1 - height, y1, y2, y2 - height, min(max(y1, 0), lowest))
        if 0 <= top <= lowest
    ]
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _measure(text: str, size: float) -> tuple[int, int]:
    """Width and height of the plate: half a descender above the letters, and one below."""
    (width, height), base = cv2.getTextSize(text, FONT, size, _stroke(size))
    return width, height + base // 2 + base


def _stroke(size: float) -> int:
    return max(1, round(1.5 * size))


def _write(canvas: np.ndarray, plate: Corners, text: str, size: float, color: tuple[int, int, int]) -> None:
    (_, height), base = cv2.getTextSize(text, FONT, size, _stroke(size))
    cv2.rectangle(canvas, plate[:2], plate[2:], color, cv2.FILLED)
    dark = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    cv2.putText(canvas, text, (plate[0], plate[1] + height + base // 2), FONT, size, dark, _stroke(size), cv2.LINE_AA)
