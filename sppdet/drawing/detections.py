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
OWN, STEP = 0.2, 0.02  # costs of hiding all of the label's own box, and of each less usual place; another box costs 1
MOST_HIDDEN = 0.5  # of another box or plate
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
    corners = np.array([box.round().int().tolist() for box, _, _ in rows], dtype=int).reshape(-1, 4)
    tails = ["" if score is None else f" {score:z.2f}" for _, _, score in rows]
    labels: list[tuple[Corners, str, int, Color]] = []
    for i, ((_, label, _), tail) in enumerate(zip(rows, tails, strict=True)):
        text, size = _fit_label(classes[label - 1], tail, int(corners[i, 2] - corners[i, 0]), scale, (height, width))
        plate = _place_label(i, measure(text, size), (height, width), [taken for taken, *_ in labels], corners)
        if plate:
            labels.append((plate, text, size, class_color(label)))
    for (x1, y1, x2, y2), (_, label, _) in reversed(list(zip(corners.tolist(), rows, strict=True))):
        most = max(2, min(x2 - x1, y2 - y1) // 16)  # of the border of a small box
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), class_color(label), min(max(2, round(2 * scale)), most))
    for plate, text, size, color in reversed(labels):
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


def _fit_label(name: str, tail: str, box_width: int, scale: float, canvas: tuple[int, int]) -> tuple[str, int]:
    """Return a label's text and the size of its font: as large as the canvas (H, W) suggests, but no wider than the box
    where that leaves it legible, and always narrower than the canvas."""
    height, width = canvas
    largest, smallest = (max(LEGIBLE, round(LEGIBLE * part)) for part in (scale, scale / 4))
    wanted = measure(f"{name}{tail}", largest)[0]
    size = max(smallest, min(largest, largest * box_width // max(wanted, 1)))
    text = fit(name, tail, size, width)
    shrunk = min(1.0, width / max(measure(text, size)[0], 1), height / measure("", size)[1])  # of tiny images
    return text, max(1, int(size * shrunk))


def _place_label(
    index: int, size: tuple[int, int], canvas: tuple[int, int], taken: Sequence[Corners], boxes: np.ndarray
) -> Corners | None:
    """Return a label's plate in the canvas (H, W), at the box (N, 4) of this index: where it hides least of the boxes
    and of the plates `taken`. None if it would hide most of another box, or lie for the most part under a plate.
    """
    (width, height), (x1, y1, x2, y2) = size, boxes[index].tolist()
    right, lowest = max(canvas[1] - width, 0), max(canvas[0] - height, 0)
    lefts = dict.fromkeys(min(max(x, 0), right) for x in (x1, x2 - width))
    places = [(x, y) for y in (y1 - height, y1, y2, y2 - height) for x in lefts]  # in order of preference
    places += [(x, y1) for x in (x2, x1 - width) if 0 <= x <= right]
    places += [(x, min(max(y1, 0), lowest)) for x in lefts]
    plates = np.array([(x, y, x + width, y + height) for x, y in places if 0 <= y <= lowest])
    hidden = _covered(boxes, plates)
    own, under = hidden[:, index].copy(), _covered(np.array(taken, dtype=int).reshape(-1, 4), plates).sum(axis=1)
    hidden[:, index] = 0
    costs = 4 * under + hidden.sum(axis=1) + OWN * own + STEP * np.arange(len(plates))
    best = int(costs.argmin())
    if len(boxes) > 1 and max(hidden[best].max(), under[best]) > MOST_HIDDEN:
        return None
    x1, y1, x2, y2 = plates[best].tolist()
    return x1, y1, x2, y2


def _covered(boxes: np.ndarray, plates: np.ndarray) -> np.ndarray:
    """Return which fraction (P, N) of each box (N, 4) each plate (P, 4) covers."""
    starts, ends = np.maximum(plates[:, None, :2], boxes[:, :2]), np.minimum(plates[:, None, 2:], boxes[:, 2:])
    inside, sides = (ends - starts).clip(min=0), boxes[:, 2:] - boxes[:, :2]
    return inside[..., 0] * inside[..., 1] / (sides[:, 0] * sides[:, 1]).clip(min=1)
