"""Detections drawn on their image."""

from collections.abc import Iterable, Sequence
from math import ceil
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from sppdet.drawing.text import LEGIBLE, Color, fit, measure, write
from sppdet.files.durable import write_atomically
from sppdet.images import ImageLike, as_image, resize_array, to_array

Corners = tuple[int, int, int, int]  # x1 y1 x2 y2, of a box or of a label's plate
# Detections, or box (4,), label 1..K and score of each; ground truth has none.
ScoredBoxes = Iterable[tuple[Tensor, int, float | None]]

# Told apart by the color-blind as well (Okabe and Ito), except the shades that follow for more classes.
PALETTE = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
SHADES = (0.0, -0.45, 0.5, -0.25, 0.25, -0.6, 0.7)  # towards black, or white
SMALLEST = 320  # pixels of the shorter side of a picture with labels


def draw_detections(image: ImageLike, detections: ScoredBoxes, classes: Sequence[str] | None = None) -> np.ndarray:
    """Return the image with each box, its class and its score drawn on it: uint8 (H, W, 3) RGB, the first box on top.

    classes: names of labels 1..K, by default those that the detections know, or numbers.
    """
    canvas, rows = to_array(as_image(image)).copy(), list(detections)
    numbered = [f"class {k}" for k in range(1, max((label for _, label, _ in rows), default=0) + 1)]
    classes = classes or getattr(detections, "classes", None) or numbered
    height, width = canvas.shape[:2]
    scale = min(height, width) / 400
    size = max(LEGIBLE, round(LEGIBLE * scale))
    corners: list[Corners] = [tuple(box.round().int().tolist()) for box, _, _ in rows]
    tails = ["" if score is None else f" {score:z.2f}" for _, _, score in rows]
    texts = [fit(classes[row[1] - 1], tail, size, width) for row, tail in zip(rows, tails, strict=True)]
    colors = [class_color(label) for _, label, _ in rows]
    widest = max((measure(text, size)[0] for text in texts), default=0)
    size = max(1, int(size * min(1.0, width / max(widest, 1), height / measure("", size)[1])))  # of tiny images
    plates: list[Corners] = []
    for box, text in zip(corners, texts, strict=True):
        plates.append(_place_label(box, measure(text, size), (height, width), plates))
    for (x1, y1, x2, y2), color in reversed(list(zip(corners, colors, strict=True))):
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, max(2, round(2 * scale)))
    for plate, text, color in reversed(list(zip(plates, texts, colors, strict=True))):
        write(canvas, *plate[:2], text, size, color)
    return canvas


def draw_enlarged(image: ImageLike, detections: ScoredBoxes, classes: Sequence[str] | None = None) -> np.ndarray:
    """Return the picture of `draw_detections`, small images enlarged by a whole number so that labels have room."""
    pixels = as_image(image)
    height, width = pixels.shape[1:]
    factor = ceil(SMALLEST / min(height, width))
    if factor == 1:
        return draw_detections(pixels, detections, classes)
    large = resize_array(to_array(pixels), factor * height, factor * width)
    classes = classes or getattr(detections, "classes", None)
    return draw_detections(as_image(large), [(factor * box, label, s) for box, label, s in detections], classes)


def class_color(label: int) -> Color:
    """Return a color for a label from 1 on, RGB 0..255; those of the first 49 differ."""
    turn, index = divmod(label - 1, len(PALETTE))
    shade = SHADES[turn % len(SHADES)]
    end = 255 if shade > 0 else 0
    red, green, blue = (round(value + abs(shade) * (end - value)) for value in PALETTE[index])
    return red, green, blue


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
