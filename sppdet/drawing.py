"""Detections drawn on their image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from sppdet.images import to_array
from sppdet.storage import write_atomically
from sppdet.structures import Detections


def draw_detections(image: Tensor, detections: Detections, classes: Sequence[str]) -> np.ndarray:
    """uint8 (H, W, 3) RGB: the image uint8 (3, H, W) with each box, its class and its score, the best on top."""
    canvas = to_array(image).copy()
    scale = max(min(canvas.shape[:2]) / 400, 0.4)
    thickness = max(1, round(2 * scale))
    for box, label, score in reversed(list(zip(*detections.as_dict().values(), strict=True))):
        colour = class_colour(int(label), len(classes))
        x1, y1, x2, y2 = (int(v) for v in box.round())
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), colour, thickness)
        text = f"{classes[int(label) - 1]} {float(score):.2f}"
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, 1)
        left = min(max(x1, 0), max(0, canvas.shape[1] - width))
        top = max(y1 - height - base, 0)
        cv2.rectangle(canvas, (left, top), (left + width, top + height + base), colour, cv2.FILLED)
        dark = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        place = (left, top + height + base // 2)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * scale, dark, 1, cv2.LINE_AA)
    return canvas


def class_colour(label: int, classes: int) -> tuple[int, int, int]:
    """A colour of its own, RGB 0..255, for each label in 1..K."""
    red, green, blue = colorsys.hsv_to_rgb((label - 1) / max(classes, 1), 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def write_picture(path: str | PathLike[str], picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB to an image file, atomically."""
    from PIL import Image

    write_atomically(Path(path), lambda temporary: Image.fromarray(picture).save(temporary))
