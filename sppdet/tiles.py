"""Detection in tiles of a large image, for objects that are too small once the whole image is resized."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import ceil, inf
from typing import NamedTuple

import torch
from torch import Tensor

from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.images import ImageLike, as_image
from sppdet.postprocess import combine_detections
from sppdet.structures import Detections

LEAST = 64  # pixels of the side of a tile
OVERLAP = 0.25  # fraction of its side by which a tile overlaps the next, at least


class Span(NamedTuple):
    """Pixels [start, end) of a tile in one direction, the part [low, high) of them that is its own, and the side that
    objects must be shorter than to be whole in the tile whose own part their center lies in."""

    start: int
    end: int
    low: float
    high: float
    side: float


def detect_tiled(detector: Detector, image: ImageLike, side: int) -> Detections:
    """Detect objects in square tiles of `side` pixels, of twice and four times as many …, and in the whole image.

    Of each tile only objects count that are whole in it, whose center is nearer to its own than to that of the next
    tile, and that are shorter than a quarter of it: an object at an edge counts once. Larger ones count in larger
    tiles, if they are not too thin for the proposals there. NMS with the detector's own settings merges all; its
    `max_per_class` limits each tile. Boxes are in pixels of the image.
    Raises ConfigError for a side under LEAST.
    """
    check_side(side)
    pixels = as_image(image)
    height, width = pixels.shape[1:]
    found = []
    while True:
        for y in spans(height, side):
            for x in spans(width, side):
                tile = detector.detect(pixels[:, y.start : y.end, x.start : x.end])
                found.append(_own(tile, x, y))
        if side >= max(height, width):
            return combine_detections(found, replace(detector.config.selection, max_per_class=0))
        side *= 2


def check_side(side: int) -> None:
    """Raise ConfigError for a side of tiles under LEAST."""
    if side < LEAST:
        raise ConfigError("too small", field="tile", expected=f"a side of at least {LEAST} pixels", got=side)


def spans(length: int, side: int) -> Iterator[Span]:
    """Yield the tiles along `length` pixels: as few as overlap by a quarter, evenly spread; one if it is no longer than
    `side`. Each pixel is the own one of one tile.

    >>> [tuple(span) for span in spans(200, 100)]
    [(0, 100, -inf, 75.0, 25), (50, 150, 75.0, 125.0, 25), (100, 200, 125.0, inf, 25)]
    """
    if length <= side:
        yield Span(0, length, -inf, inf, inf)
        return
    overlap = ceil(OVERLAP * side)
    count = ceil((length - overlap) / (side - overlap))
    starts = [i * (length - side) // (count - 1) for i in range(count)]
    borders = [-inf, *((start + side + following) / 2 for start, following in pairwise(starts)), inf]
    for start, low, high in zip(starts, borders[:-1], borders[1:], strict=True):
        yield Span(start, start + side, low, high, overlap)


def _own(detections: Detections, x: Span, y: Span) -> Detections:
    """Return what counts of a tile's detections, moved to its place in the image."""
    boxes = detections.boxes + torch.tensor([x.start, y.start, x.start, y.start])
    own = _counts(boxes[:, 0::2], x) & _counts(boxes[:, 1::2], y)
    return replace(detections, boxes=boxes)[own]


def _counts(ends: Tensor, span: Span) -> Tensor:
    """Return which of the sides with these ends (N, 2) are whole in a tile and have their center in its own part."""
    center = ends.mean(dim=1)
    return (ends[:, 1] - ends[:, 0] < span.side) & (center >= span.low) & (center < span.high)
