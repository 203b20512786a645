"""What selective search compares of a segment (Uijlings et al., IJCV 2013, section 3.2), gathered in one pass.

Color: 25 bins a channel. Texture: derivatives in 8 orientations, the part above zero, 10 bins an orientation and
channel. Both are normalized to a sum of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

COLOUR_BINS = 25
TEXTURE_BINS = 10

# Derivatives along four directions; the other four orientations are the same with the opposite sign, so that a pixel
# needs one signed bin, -9 to 9, for both.
_SIGNED = 2 * TEXTURE_BINS - 1
_CHANNEL = COLOUR_BINS + 4 * _SIGNED

# The least that Scharr's filter (32 times the slope) gives where a channel is not flat: rounding in the smoothing
# leaves up to 0.002 in a flat one, which would become a texture.
FLAT = 1


@dataclass(frozen=True, eq=False)
class Regions:
    """The n segments of a label map.

    sizes int64 (n,), pixels; boxes int64 (n, 4), x1 y1 x2 y2, half-open pixels; color float32 (n, 25 C) and texture
    float32 (n, 80 C), rows that sum to one; pairs int64 (P, 2), each pair of neighbors (of eight) once, a < b.
    """

    sizes: np.ndarray
    boxes: np.ndarray
    color: np.ndarray
    texture: np.ndarray
    pairs: np.ndarray


def quantize(array: np.ndarray, planes: np.ndarray, separate: bool = False) -> np.ndarray:
    """Bins uint16 (H, W, 5 C) that each pixel adds to: of color, and of four signed derivatives, channel by channel.

    `array` is the image uint8 (H, W) or (H, W, C) and `planes` the same, float32 (C, H, W), to take the derivatives of,
    smoothed or not: Scharr's filter makes of a smoothing with sigma 0.8 the derivative of a Gaussian with sigma 1. The
    largest derivative of a channel fills the last bin, or, where these are `separate`, that of each direction.
    """
    array = np.atleast_3d(array)
    slopes = np.stack([[cv2.Scharr(plane, cv2.CV_32F, *axis) for plane in planes] for axis in ((1, 0), (0, 1))])
    bins = np.empty((*array.shape[:2], 5 * array.shape[2]), dtype=np.uint16)
    _quantize(array, slopes, separate, bins)
    return bins


def describe(labels: np.ndarray, count: int, bins: np.ndarray) -> Regions:
    """The regions of labels int32 (H, W), 0..count−1, with the bins of `quantize`."""
    sizes, boxes, counts, pairs = _describe(labels, count, bins, bins.shape[2] // 5 * _CHANNEL)
    color, texture = _normalize(counts, sizes)
    return Regions(sizes, boxes, color, texture, pairs)


@njit(nogil=True, cache=True)
def _quantize(array, slopes, separate, bins):  # type: ignore[no-untyped-def]
    height, width, channels = array.shape
    for channel in range(channels):
        first = channel * _CHANNEL
        largest = np.full(4, FLAT, np.float32)
        for y in range(height):
            for x in range(width):
                for d, slope in enumerate(_directions(slopes[0, channel, y, x], slopes[1, channel, y, x])):
                    largest[d] = max(largest[d], abs(slope))
        if not separate:
            largest[:] = largest.max()
        scales = np.float32(TEXTURE_BINS) / largest
        for y in range(height):
            for x in range(width):
                bins[y, x, 5 * channel] = first + array[y, x, channel] * COLOUR_BINS // 256
                place = first + COLOUR_BINS + TEXTURE_BINS - 1
                for d, slope in enumerate(_directions(slopes[0, channel, y, x], slopes[1, channel, y, x])):
                    bins[y, x, 5 * channel + 1 + d] = place + d * _SIGNED + _signed_bin(slope * scales[d])


@njit(inline="always")
def _directions(right, down):  # type: ignore[no-untyped-def]
    half = np.float32(math.sqrt(0.5))
    return right, (right + down) * half, down, (down - right) * half


@njit(nogil=True, cache=True)
def _signed_bin(value):  # type: ignore[no-untyped-def]
    return max(-TEXTURE_BINS + 1, min(TEXTURE_BINS - 1, int(value)))  # towards zero


@njit(nogil=True, cache=True)
def _describe(labels, count, bins, columns):  # type: ignore[no-untyped-def]
    height, width = labels.shape
    sizes = np.zeros(count, dtype=np.int64)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3] = width, height, 0, 0
    counts = np.zeros((count, columns), dtype=np.int32)
    neighbors = [np.int64(0)][:0]
    known = set(neighbors)
    last = np.int64(-1)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            sizes[label] += 1
            box = boxes[label]
            box[0], box[1] = min(box[0], x), min(box[1], y)
            box[2], box[3] = max(box[2], x + 1), max(box[3], y + 1)
            row = counts[label]
            for place in bins[y, x]:
                row[place] += 1
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + down < height and 0 <= x + right < width:
                    other = labels[y + down, x + right]
                    if other != label:
                        pair = np.int64(min(label, other)) * count + max(label, other)
                        if pair != last and pair not in known:
                            known.add(pair)
                            neighbors.append(pair)
                        last = pair
    pairs = np.empty((len(neighbors), 2), dtype=np.int64)
    for index, pair in enumerate(neighbors):
        pairs[index, 0], pairs[index, 1] = pair // count, pair % count
    return sizes, boxes, counts, pairs


@njit(nogil=True, cache=True)
def _normalize(counts, sizes):  # type: ignore[no-untyped-def]
    """Counts of the bins as in `quantize` -> color (n, 25 C), texture (n, 80 C)."""
    regions, channels = len(counts), counts.shape[1] // _CHANNEL
    color = np.empty((regions, channels * COLOUR_BINS), dtype=np.float32)
    texture = np.empty((regions, channels * 8 * TEXTURE_BINS), dtype=np.float32)
    for region in range(regions):
        share = np.float32(1 / (sizes[region] * channels))
        for channel in range(channels):
            first = channel * _CHANNEL
            for place in range(COLOUR_BINS):
                color[region, channel * COLOUR_BINS + place] = counts[region, first + place] * share
            for orientation in range(8):
                sign = 1 if orientation < 4 else -1
                zero = first + COLOUR_BINS + (orientation % 4) * _SIGNED + TEXTURE_BINS - 1
                target = (channel * 8 + orientation) * TEXTURE_BINS
                left = sizes[region]
                for place in range(1, TEXTURE_BINS):
                    found = counts[region, zero + sign * place]
                    texture[region, target + place] = found * share / 8
                    left -= found
                texture[region, target] = left * share / 8
    return color, texture
