"""Parts of images side by side, each with a frame and a line of text, in rows with titles."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from sppdet.drawing.text import LEGIBLE, Color, fit, measure, write
from sppdet.images import resize_array

TILE, GAP, FRAME = 112, 8, 4  # pixels
WHITE, GRAY = (255, 255, 255), 225


class Tile(NamedTuple):
    """pixels: uint8 (h, w, 3). text: a few characters, below it. color: of its frame."""

    pixels: np.ndarray
    text: str
    color: Color


def crop(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Return the pixels (h, w, 3) of an image (H, W, 3) in a box x1 y1 x2 y2, at least one."""
    height, width = pixels.shape[:2]
    x1, y1 = (min(max(int(value), 0), side - 1) for value, side in zip(box[:2], (width, height), strict=True))
    x2, y2 = max(round(box[2]), x1 + 1), max(round(box[3]), y1 + 1)
    return pixels[y1:y2, x1:x2]


def draw_mosaic(rows: Sequence[tuple[str, Sequence[Tile]]]) -> np.ndarray:
    """Return uint8 (H, W, 3) RGB: for each row its title and, below it, its tiles."""
    line = measure("", LEGIBLE)[1]
    columns = max((len(tiles) for _, tiles in rows), default=1)
    height, width = 2 * line + TILE + 2 * GAP, max(columns, 4) * (TILE + GAP) + GAP
    canvas = np.full((len(rows) * height + GAP, width, 3), 255, np.uint8)
    for number, (title, tiles) in enumerate(rows):
        top = number * height + GAP
        write(canvas, GAP, top, fit(title, "", LEGIBLE, width - 2 * GAP), LEGIBLE, WHITE)
        for column, tile in enumerate(tiles):
            left = column * (TILE + GAP) + GAP
            place = canvas[top + line : top + line + TILE, left : left + TILE]
            place[:] = _square(tile.pixels)
            cv2.rectangle(place, (FRAME // 2 - 1,) * 2, (TILE - FRAME // 2,) * 2, tile.color, FRAME)
            write(canvas, left, top + line + TILE, fit(tile.text, "", LEGIBLE, TILE), LEGIBLE, WHITE)
    return canvas


def _square(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels resized into the middle of a gray square inside the frame."""
    inside = TILE - 2 * FRAME
    scale = inside / max(pixels.shape[:2])
    height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
    square = np.full((TILE, TILE, 3), GRAY, np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    square[top : top + height, left : left + width] = resize_array(np.ascontiguousarray(pixels), height, width)
    return square
