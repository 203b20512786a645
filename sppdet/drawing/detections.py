"""Detections drawn on their image."""

import colorsys
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from sppdet.files.durable import write_atomically
from sppdet.images import ImageLike, as_image, to_array

FONT = cv2.FONT_HERSHEY_SIMPLEX
Corners = tuple[int, int, int, int]  # x1 y1 x2 y2, of a box or of a label's plate
ScoredBoxes = Iterable[tuple[Tensor, int, float]]  # Detections, or box (4,), label 1..K and score of each


def draw_detections(image: ImageLike, detections: ScoredBoxes, classes: Sequence[str] | None = None) -> np.ndarray:
    """Return the image with each box, its class and its score drawn on it: uint8 (H, W, 3) RGB, the first box on top.

    classes: names of labels 1..K, by default those that the detections know, or numbers.
    """
    canvas, rows = to_array(as_image(image)).copy(), list(detections)
    numbered = [f"class {k}" for k in range(1, max((label for _, label, _ in rows), default=0) + 1)]
    classes = classes or getattr(detections, "classes", None) or numbered
    scale = max(min(canvas.shape[:2]) / 400, 0.4)
    corners: list[Corners] = [tuple(box.round().int().tolist()) for box, _, _ in rows]
    texts = [f"{classes[label - 1]} {score:z.2f}" for _, label, score in rows]
    colors = [class_color(label, len(classes)) for _, label, _ in rows]
    size = scale / 2
    widest = max((_measure(text, size)[0] for text in texts), default=0)
    size *= min(1.0, canvas.shape[1] / max(widest, 1))
    plates: list[Corners] = []
    for box, text in zip(corners, texts, strict=True):
        plates.append(_place_label(box, _measure(text, size), (canvas.shape[0], canvas.shape[1]), plates))
    for (x1, y1, x2, y2), color in reversed(list(zip(corners, colors, strict=True))):
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, max(1, round(2 * scale)))
    for plate, text, color in reversed(list(zip(plates, texts, colors, strict=True))):
        _write(canvas, plate, text, size, color)
    return canvas


def class_color(label: int, classes: int) -> tuple[int, int, int]:
    """Return a color for a label in 1..K, RGB 0..255, different for each label."""
    red, green, blue = colorsys.hsv_to_rgb((label - 1) / max(classes, 1), 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def write_picture(path: str | PathLike[str], picture: np.ndarray) -> None:
    """Write a picture uint8 (H, W, 3) RGB to an image file, atomically."""
    image = Image.fromarray(picture)
    write_atomically(Path(path), lambda temporary: image.save(temporary, quality=92, subsampling=0))


def _place_label(box: Corners, size: tuple[int, int], canvas: tuple[int, int], taken: Sequence[Corners]) -> Corners:
    """Return a label's plate in the canvas (H, W): above, in or below its box, if possible overlapping none `taken`."""
    (width, height), (x1, y1, _, y2) = size, box
    left = min(max(x1, 0), max(canvas[1] - width, 0))
    lowest = max(canvas[0] - height, 0)
    plates = [
        (left, top, left + width, top + height)
        for top in (y1 - height, y1, y2, y2 - height, min(max(y1, 0), lowest))
        if 0 <= top <= lowest
    ]

    def is_free(a: Corners) -> bool:
        return not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken)

    return next(filter(is_free, plates), plates[0])


def _measure(text: str, size: float) -> tuple[int, int]:
    """Return the width and height of a label's plate: half a descender above the letters, and one below."""
    (width, height), base = cv2.getTextSize(text, FONT, size, _stroke(size))
    return width, height + base // 2 + base


def _stroke(size: float) -> int:
    return max(1, round(1.5 * size))


def _write(canvas: np.ndarray, plate: Corners, text: str, size: float, color: tuple[int, int, int]) -> None:
    (_, height), base = cv2.getTextSize(text, FONT, size, _stroke(size))
    cv2.rectangle(canvas, plate[:2], plate[2:], color, cv2.FILLED)
    dark = (0, 0, 0) if sum(color) > 380 else (255, 255, 255)
    cv2.putText(canvas, text, (plate[0], plate[1] + height + base // 2), FONT, size, dark, _stroke(size), cv2.LINE_AA)
