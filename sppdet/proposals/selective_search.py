"""Selective search (Uijlings et al., IJCV 2013): boxes that are likely to hold an object, from one image.

The image is segmented in several color spaces and with several thresholds k. Each segmentation is grouped into one
hierarchy per sum of similarities, and every node of a hierarchy gives a box. The rank of a box is its position in its
hierarchy (1 = the last merge, the whole image) times a uniform random number (section 3.3). The random seed is a
function of the image and the parameters, so the boxes are the same on every run. Of equal boxes the best ranked is
kept.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from sppdet.boxes import clip_boxes
from sppdet.config.data import MAX_PIXELS, ProposalConfig, SearchMode
from sppdet.errors import ConfigError, InputError
from sppdet.images import resize_array, to_array
from sppdet.proposals.grouping import Hierarchy, group
from sppdet.proposals.segmentation import Edges, segment, smooth, sort_edges, to_planes
from sppdet.proposals.segments import describe, quantize
from sppdet.structures import check_tensor

logger = logging.getLogger(__name__)

# Part of the cache key: increase it when a change of the code changes the boxes.
ALGORITHM = "selective-search-2"

MAX_ASPECT = 4  # height over width; a strip one pixel wide would become millions of rows at a width of 500
SMOOTHING_SIGMA = 0.8  # pixels, before the segmentation


@dataclass(frozen=True)
class Preset:
    """The segmentations and groupings of a mode; each color space, threshold and similarity gives one hierarchy.

    spaces: as in `to_space`. thresholds: pairs of k and the minimum size of a segment in pixels. similarities: as in
    `grouping.group`. neighbors: connectivity of the graph, 4 or 8. opencv_texture: derivatives are taken of the image
    without smoothing, and each direction has its own bins.
    """

    spaces: tuple[str, ...]
    thresholds: tuple[tuple[int, int], ...]
    similarities: tuple[str, ...]
    neighbors: int = 8
    opencv_texture: bool = False


_PAPER_K = ((50, 50), (100, 100), (150, 150), (300, 300))
_OPENCV_K = ((150, 100), (300, 100), (450, 100), (600, 100), (750, 100))
PRESETS = {
    "fast": Preset(("HSV", "Lab"), _PAPER_K[:2], ("CTSF", "TSF")),
    "quality": Preset(("HSV", "Lab", "rgI", "H", "I"), _PAPER_K, ("CTSF", "TSF", "F", "S")),
    "opencv_fast": Preset(("HSV", "Lab"), _OPENCV_K[:3], ("CTSF", "TSF"), 4, opencv_texture=True),
    "opencv_quality": Preset(
        ("HSV", "Lab", "I", "H", "RGI"), _OPENCV_K, ("CTSF", "TSF", "F", "S"), 4, opencv_texture=True
    ),
}


class Node(NamedTuple):
    """The node of a hierarchy that a proposal bounds, with `hierarchy.mask(node)` in the searched image."""

    hierarchy: Hierarchy
    node: int


def selective_search(
    image: Tensor,
    mode: SearchMode = "fast",
    width: int | None = 500,
    min_side: int = 20,
    limit: int | None = 2000,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """Return boxes float32 (N, 4) that are likely to hold an object, 1 <= N <= limit, best first, in pixels of `image`.

    Args:
        image: uint8 (3, H, W).
        mode: a key of `PRESETS`: the paper's fast (8 hierarchies) or quality (80), or those of OpenCV's implementation.
        width: pixels to resize the image to before the search; None: its own. An image higher than 4 times its width
            is made narrower.
        min_side: least side of a box, in pixels of the resized image. If no box is left, the whole image is returned.
        limit: maximum number of boxes; None: all. The first n boxes are the same for every limit.
        threads: number of threads, which does not change the boxes; None: one per core.
        max_pixels: pixels above which the image to search is resized, whatever its width, which is logged. The search
            takes about 200 bytes for each on one thread, and 300 on five; in quality mode 250 and 650.

    Raises ConfigError for a parameter out of range, InputError for what is not an image.

    >>> image = torch.full((3, 80, 120), 90, dtype=torch.uint8)
    >>> image[:, 20:60, 30:80] = 230
    >>> boxes = selective_search(image, width=None)
    >>> [30, 20, 80, 60] in boxes.tolist()
    True
    """
    return search_nodes(image, ProposalConfig(mode, width, min_side, limit, max_pixels=max_pixels), threads)[0]


def search_nodes(
    image: Tensor, config: ProposalConfig | None = None, threads: int | None = None
) -> tuple[Tensor, list[Node]]:
    """Return the boxes of `selective_search` and the node that each bounds."""
    config = config or ProposalConfig()
    check_tensor(image, "image", torch.uint8, 3, None, None)
    if not image.numel():
        raise InputError("has no pixels", field="image", expected="uint8 (3, H, W)", got=tuple(image.shape))
    if threads is not None and threads < 1:
        raise ConfigError("out of range", field="threads", expected="at least 1", got=threads)
    array = to_array(image)
    searched = _resize_to_width(array, config.width) if config.width else array
    height, width = searched.shape[:2]
    if height * width > config.max_pixels:
        ratio = sqrt(config.max_pixels / (height * width))
        searched = resize_array(searched, max(1, int(height * ratio)), max(1, int(width * ratio)))
        sides = (width, height, searched.shape[1], searched.shape[0])
        logger.warning("a picture of %d x %d pixels is searched at %d x %d (proposals.max_pixels)", *sides)
    hierarchies = search_hierarchies(searched, PRESETS[config.mode], threads)
    boxes = np.concatenate([hierarchy.boxes for hierarchy in hierarchies])
    ranked = _rank(hierarchies, _seed(array, config.mode, config.width, config.min_side))
    sides = boxes[ranked, 2:] - boxes[ranked, :2]
    ranked = _distinct(boxes, ranked[(sides >= config.min_side).all(axis=1)])[: config.limit]
    if not len(ranked):
        ranked = np.array([len(boxes) - 1])  # the last node of a hierarchy: the whole image
    scale_x, scale_y = array.shape[1] / searched.shape[1], array.shape[0] / searched.shape[0]
    scaled = torch.from_numpy((boxes[ranked] * [scale_x, scale_y, scale_x, scale_y]).astype(np.float32))
    nodes = [Node(hierarchy, node) for hierarchy in hierarchies for node in range(len(hierarchy.boxes))]
    return clip_boxes(scaled, *array.shape[:2]), [nodes[index] for index in ranked]


def search_hierarchies(array: np.ndarray, preset: Preset, threads: int | None = None) -> list[Hierarchy]:
    """Return the hierarchies of an RGB array uint8 (H, W, 3), ordered by space, then threshold, then similarity."""

    def prepare(space: str) -> tuple[Edges, np.ndarray]:
        planes = to_space(array, space)
        smoothed = smooth(planes, SMOOTHING_SIGMA)
        textured = to_planes(planes) if preset.opencv_texture else smoothed
        return sort_edges(smoothed, preset.neighbors), quantize(planes, textured, preset.opencv_texture)

    def segment_and_group(task: tuple[tuple[str, tuple[Edges, np.ndarray]], tuple[int, int]]) -> list[Hierarchy]:
        (space, (edges, bins)), (k, min_size) = task
        labels, count = segment(edges, k, min_size)
        segments = describe(labels, count, bins)
        return [
            Hierarchy(labels, *group(segments, labels.size, similarity), f"{space}, k {k}, {similarity}")
            for similarity in preset.similarities
        ]

    hierarchies, threads = list[Hierarchy](), threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(preset.spaces), threads):  # more spaces at once would take memory and no less time
            names = preset.spaces[start : start + threads]
            prepared = pool.map(prepare, names)
            for found in pool.map(segment_and_group, product(zip(names, prepared, strict=True), preset.thresholds)):
                hierarchies += found
    return hierarchies


def to_space(array: np.ndarray, space: str) -> np.ndarray:
    """Convert an RGB array uint8 (H, W, 3) to HSV, H, Lab, I, rgI or RGI: uint8 (H, W, C) or (H, W).

    I is the intensity; r and g are the fractions of red and green; RGI (red, green, intensity) is OpenCV's form of rgI.
    """
    if space == "HSV":
        return cv2.cvtColor(array, cv2.COLOR_RGB2HSV)
    if space == "H":
        return np.ascontiguousarray(to_space(array, "HSV")[..., 0])
    if space == "Lab":
        return cv2.cvtColor(array, cv2.COLOR_RGB2LAB)
    intensity = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)
    if space == "I":
        return intensity
    red, green = array[..., 0], array[..., 1]
    if space == "rgI":
        total = np.maximum(array.sum(axis=2, dtype=np.float32), 1)
        red, green = (red / total * 255).astype(np.uint8), (green / total * 255).astype(np.uint8)
    return np.stack([red, green, intensity], axis=2)


def _resize_to_width(array: np.ndarray, width: int) -> np.ndarray:
    ratio = min(width / array.shape[1], MAX_ASPECT * width / array.shape[0])
    return resize_array(array, max(1, round(array.shape[0] * ratio)), max(1, round(array.shape[1] * ratio)))


def _seed(array: np.ndarray, *parameters: object) -> int:
    digest = hashlib.sha256(repr((array.shape, *parameters)).encode())
    digest.update(array.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _rank(hierarchies: Sequence[Hierarchy], seed: int) -> np.ndarray:
    """Return the indices of all nodes, counted over the hierarchies, best rank first."""
    positions = np.concatenate([np.arange(len(hierarchy.boxes), 0, -1) for hierarchy in hierarchies])
    return np.argsort(positions * np.random.default_rng(seed).random(len(positions)), kind="stable")


def _distinct(boxes: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the indices without those whose box occurs earlier."""
    codes = np.ravel_multi_index(tuple(boxes[indices].T), tuple(boxes.max(axis=0) + 1))
    return indices[np.sort(np.unique(codes, return_index=True)[1])]
