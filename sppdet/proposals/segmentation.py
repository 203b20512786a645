"""Graph-based segmentation (Felzenszwalb & Huttenlocher, IJCV 2004); one sorted edge list serves several thresholds k.

The graph connects each pixel to its 4 or 8 neighbors. The weight of an edge is the Euclidean distance between the two
colors. Edges are visited in order of increasing weight w. An edge between two components merges them if
w <= Int(C) + k / |C| for both, where Int(C) is the largest weight in component C (section 3). Then components of fewer
than `min_size` pixels are merged across the lightest remaining edge.

Kernels run on one thread and release the GIL.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from sppdet.runtime.compiled import compiled

# Weights are integers in steps of 2**-15 gray levels: up to 442 levels in 24 bits, sorted by digits of 12 bits. With
# coarser steps many edges would be ordered by their position in the image, which makes segments ragged.
STEPS_PER_LEVEL = 2**15
DIGIT_BITS = 12
DIGITS = 2**DIGIT_BITS

# Rows and columns from a pixel to its partner: the first two for 4 neighbors, all for 8.
DOWN = (0, 1, 1, -1)
RIGHT = (1, 0, 1, 1)


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of an image's graph, by increasing weight; edges of equal weight in the order of their pixels.

    codes: int32 (E,), pixel * 4 + direction. weights: int32 (E,), in steps.
    """

    codes: np.ndarray
    weights: np.ndarray
    height: int
    width: int


def smooth(array: np.ndarray, sigma: float) -> np.ndarray:
    """Return planes float32 (C, H, W) of an image uint8 (H, W) or (H, W, C), after a blur of `sigma` pixels."""
    return to_planes(cv2.GaussianBlur(array.astype(np.float32), (0, 0), sigma))


def to_planes(array: np.ndarray) -> np.ndarray:
    """Return planes float32 (C, H, W) of an array (H, W) or (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(array), 2, 0), dtype=np.float32)


def sort_edges(planes: np.ndarray, neighbors: int = 8) -> Edges:
    """Return the sorted edges between pixels and their 4 or 8 neighbors; planes: float32 (C, H, W), 0 to 255."""
    _, height, width = planes.shape
    weights = np.full((4, height, width), -1, dtype=np.int32)  # -1: no edge
    _weigh(planes, weights[: neighbors // 2])
    keys = np.moveaxis(weights, 0, 2).ravel()
    codes = np.flatnonzero(keys >= 0).astype(np.int32)
    edges = codes, keys[codes]
    for shift in (0, DIGIT_BITS):  # radix sort
        edges = _sort_by_digit(*edges, shift)
    return Edges(*edges, height, width)


def segment(edges: Edges, k: float, min_size: int) -> tuple[np.ndarray, int]:
    """Return labels int32 (H, W), 0..n−1 in the order of the components' first pixels, and n.

    k: in gray levels times pixels; a larger k gives larger components. min_size: in pixels.
    """
    labels = np.empty(edges.height * edges.width, dtype=np.int32)
    count = _segment(edges.codes, edges.weights, edges.width, float(k * STEPS_PER_LEVEL), min_size, labels)
    return labels.reshape(edges.height, edges.width), count


@compiled(nogil=True)
def _weigh(planes, weights):  # type: ignore[no-untyped-def]
    channels, height, width = planes.shape
    for direction in range(len(weights)):
        down, right = DOWN[direction], RIGHT[direction]
        for y in range(max(0, -down), height - max(0, down)):
            for x in range(width - right):
                total = np.float32(0)
                for channel in range(channels):
                    difference = planes[channel, y, x] - planes[channel, y + down, x + right]
                    total += difference * difference
                weights[direction, y, x] = np.int32(np.sqrt(total) * np.float32(STEPS_PER_LEVEL))


@compiled(nogil=True)
def _sort_by_digit(codes, keys, shift):  # type: ignore[no-untyped-def]
    """Return codes and keys in the stable order of one digit of the keys."""
    places = np.zeros(DIGITS + 1, dtype=np.int32)
    for key in keys:
        places[(key >> shift & (DIGITS - 1)) + 1] += 1
    places = np.cumsum(places)
    sorted_codes, sorted_keys = np.empty_like(codes), np.empty_like(keys)
    for index in range(len(keys)):
        digit = keys[index] >> shift & (DIGITS - 1)
        sorted_codes[places[digit]], sorted_keys[places[digit]] = codes[index], keys[index]
        places[digit] += 1
    return sorted_codes, sorted_keys


@compiled(nogil=True)
def _find(parents, pixel):  # type: ignore[no-untyped-def]
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@njit(inline="always")
def _join(parents, sizes, a, b):  # type: ignore[no-untyped-def]
    if sizes[a] < sizes[b]:
        a, b = b, a
    parents[b] = a
    sizes[a] += sizes[b]
    return a


@compiled(nogil=True)
def _segment(codes, weights, width, k, min_size, labels):  # type: ignore[no-untyped-def]
    pixels = len(labels)
    steps = np.empty(4, dtype=np.int32)
    for direction in range(4):
        steps[direction] = DOWN[direction] * width + RIGHT[direction]
    parents = np.arange(pixels).astype(np.int32)
    sizes = np.ones(pixels, dtype=np.int32)
    limits = np.full(pixels, k, dtype=np.float32)  # Int(C) + k / |C| at the root of C
    refused = np.empty(len(codes), dtype=np.int32)
    refusals = 0
    for index in range(len(codes)):
        edge = codes[index]
        a = _find(parents, edge >> 2)
        b = _find(parents, (edge >> 2) + steps[edge & 3])
        if a == b:
            continue
        weight = weights[index]
        if weight <= limits[a] and weight <= limits[b]:
            a = _join(parents, sizes, a, b)
            limits[a] = weight + k / sizes[a]
        else:
            refused[refusals] = edge
            refusals += 1
    # Only a refused edge can still connect two components.
    for index in range(refusals):
        edge = refused[index]
        a = _find(parents, edge >> 2)
        b = _find(parents, (edge >> 2) + steps[edge & 3])
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            _join(parents, sizes, a, b)
    count = 0
    sizes[:] = -1  # from here on: the label of a root
    for pixel in range(pixels):
        root = _find(parents, pixel)
        if sizes[root] < 0:
            sizes[root] = count
            count += 1
        labels[pixel] = sizes[root]
    return count
