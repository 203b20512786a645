"""Graph-based segmentation (Felzenszwalb & Huttenlocher, IJCV 2004), many thresholds k from one sorted edge list.

The graph joins each pixel to its four or eight neighbors; an edge weighs the Euclidean distance of the two colors.
Edges are taken in rising weight w. One that leaves component C is merged where w <= Int(C) + k / |C| holds on both
sides, Int(C) being the largest weight inside (section 3). Then components under `min_size` pixels join across the
lightest edge left.

Kernels run on one thread and release the GIL.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

# A weight is a whole number of 2**-15 gray levels: up to 442 of them in 24 bits, sorted by 12 at a time. Coarser steps
# would leave the order of many edges to their place in the image, which makes ragged segments.
STEPS = 2**15
DIGIT = 12
DIGITS = 2**DIGIT

# Row and column from a pixel to its partner; the first two give four neighbors, all give eight.
DOWN = (0, 1, 1, -1)
RIGHT = (1, 0, 1, 1)


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of an image's graph in rising weight; equal ones in the order of their pixels.

    `codes` int32 (E,): pixel * 4 + direction. `weights` int32 (E,), in steps.
    """

    codes: np.ndarray
    weights: np.ndarray
    height: int
    width: int


def smooth(array: np.ndarray, sigma: float) -> np.ndarray:
    """Planes float32 (C, H, W) of an image uint8 (H, W) or (H, W, C), smoothed by a Gaussian of `sigma` pixels."""
    return to_planes(cv2.GaussianBlur(array.astype(np.float32), (0, 0), sigma))


def to_planes(array: np.ndarray) -> np.ndarray:
    """Planes float32 (C, H, W) of an array (H, W) or (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(array), 2, 0), dtype=np.float32)


def sort_edges(planes: np.ndarray, neighbors: int = 8) -> Edges:
    """The sorted edges of planes float32 (C, H, W), values 0 to 255, between each pixel and its 4 or 8 neighbors."""
    _, height, width = planes.shape
    weights = np.empty((neighbors // 2, height, width), dtype=np.int32)
    _weigh(planes, weights)
    codes, keys = _radix_sort(weights)
    return Edges(codes, keys, height, width)


def segment(edges: Edges, k: float, min_size: int) -> tuple[np.ndarray, int]:
    """Labels int32 (H, W), 0..n−1 in the order of the components' first pixels, and n.

    `k` is in gray levels times pixels (the larger, the larger the components), `min_size` in pixels.
    """
    labels = np.empty(edges.height * edges.width, dtype=np.int32)
    count = _segment(edges.codes, edges.weights, edges.width, float(k * STEPS), min_size, labels)
    return labels.reshape(edges.height, edges.width), count


@njit(nogil=True, cache=True)
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
                weights[direction, y, x] = np.int32(np.sqrt(total) * np.float32(STEPS))


@njit(nogil=True, cache=True)
def _radix_sort(weights):  # type: ignore[no-untyped-def]
    directions, height, width = weights.shape
    codes = np.empty(weights.size, dtype=np.int32)
    keys = np.empty(weights.size, dtype=np.int32)
    low = np.zeros(DIGITS + 1, dtype=np.int32)
    high = np.zeros(DIGITS + 1, dtype=np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            for direction in range(directions):
                if 0 <= y + DOWN[direction] < height and x + RIGHT[direction] < width:
                    key = weights[direction, y, x]
                    codes[count] = (y * width + x) * 4 + direction
                    keys[count] = key
                    low[(key & (DIGITS - 1)) + 1] += 1
                    high[(key >> DIGIT) + 1] += 1
                    count += 1
    for digit in range(DIGITS):
        low[digit + 1] += low[digit]
        high[digit + 1] += high[digit]
    codes_by_low = np.empty(count, dtype=np.int32)
    keys_by_low = np.empty(count, dtype=np.int32)
    for index in range(count):
        key = keys[index]
        place = low[key & (DIGITS - 1)]
        low[key & (DIGITS - 1)] += 1
        codes_by_low[place] = codes[index]
        keys_by_low[place] = key
    codes, keys = codes[:count], keys[:count]
    for index in range(count):
        key = keys_by_low[index]
        place = high[key >> DIGIT]
        high[key >> DIGIT] += 1
        codes[place] = codes_by_low[index]
        keys[place] = key
    return codes, keys


@njit(nogil=True, cache=True)
def _find(parents, pixel):  # type: ignore[no-untyped-def]
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@njit(nogil=True, cache=True)
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
            if sizes[a] < sizes[b]:
                a, b = b, a
            parents[b] = a
            sizes[a] += sizes[b]
            limits[a] = weight + k / sizes[a]
        else:
            refused[refusals] = edge
            refusals += 1
    # Only a refused edge can still lie between two components.
    for index in range(refusals):
        edge = refused[index]
        a = _find(parents, edge >> 2)
        b = _find(parents, (edge >> 2) + steps[edge & 3])
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            if sizes[a] < sizes[b]:
                a, b = b, a
            parents[b] = a
            sizes[a] += sizes[b]
    count = 0
    sizes[:] = -1  # from here on the label of a root
    for pixel in range(pixels):
        root = _find(parents, pixel)
        if sizes[root] < 0:
            sizes[root] = count
            count += 1
        labels[pixel] = sizes[root]
    return count
