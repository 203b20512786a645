"""Features of segments that selective search compares (Uijlings et al., IJCV 2013, section 3.2), computed in one pass.

Color: a histogram of 25 bins per channel. Texture: histograms of derivatives in 8 orientations, each of the values
above zero, with 10 bins per orientation and channel. Both are normalized to a sum of one.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit

from sppdet.runtime.compiled import compiled

COLOR_BINS = 25
TEXTURE_BINS = 10

# Derivatives are taken along four directions. The other four orientations are the same with the opposite sign, so one
# signed bin per pixel, -9 to 9, serves two orientations.
_SIGNED_BINS = 2 * TEXTURE_BINS - 1
_CHANNEL_BINS = COLOR_BINS + 4 * _SIGNED_BINS

# Least response of Scharr's filter (32 times the slope in gray levels per pixel) in a channel that is not flat.
# Rounding in the smoothing leaves up to 0.002 in a flat channel, which would become a texture.
MIN_RESPONSE = 1


class Segments(NamedTuple):
    """The n segments of a label map.

    sizes: int64 (n,), pixels. boxes: int64 (n, 4), x1 y1 x2 y2, half-open pixels. color: float32 (n, 25 C), texture:
    float32 (n, 80 C), histograms that sum to one. pairs: int64 (P, 2), pairs of neighboring segments (8-connected),
    each once, a < b.
    """

    sizes: np.ndarray
    boxes: np.ndarray
    color: np.ndarray
    texture: np.ndarray
    pairs: np.ndarray


def quantize(array: np.ndarray, planes: np.ndarray, separate: bool = False) -> np.ndarray:
    """Return the histogram bins uint16 (H, W, 5 C) that each pixel falls into: color and four signed derivatives.

    array: the image, uint8 (H, W) or (H, W, C). planes: the same as float32 (C, H, W), smoothed or not, to take the
    derivatives of; Scharr's filter after smoothing with sigma 0.8 is the derivative of a Gaussian with sigma 1.
    The last bin holds the largest derivative of a channel, or of each direction of it if `separate`.
    """
    array = np.atleast_3d(array)
    slopes = np.stack([[cv2.Scharr(plane, cv2.CV_32F, *axis) for plane in planes] for axis in ((1, 0), (0, 1))])
    bins = np.empty((*array.shape[:2], 5 * array.shape[2]), dtype=np.uint16)
    _quantize(array, slopes, separate, bins)
    return bins


def describe(labels: np.ndarray, count: int, bins: np.ndarray) -> Segments:
    """Return the segments of labels int32 (H, W), 0..count−1, with histograms of the bins of `quantize`."""
    sizes, boxes, counts, pairs = _describe(labels, count, bins, bins.shape[2] // 5 * _CHANNEL_BINS)
    color, texture = _normalize(counts, sizes)
    return Segments(sizes, boxes, color, texture, pairs)


@compiled(nogil=True)
def _quantize(array, slopes, separate, bins):  # type: ignore[no-untyped-def]
    height, width, channels = array.shape
    for channel in range(channels):
        first = channel * _CHANNEL_BINS
        largest = np.full(4, MIN_RESPONSE, np.float32)
        for y in range(height):
            for x in range(width):
                for d, slope in enumerate(_directions(slopes[0, channel, y, x], slopes[1, channel, y, x])):
                    largest[d] = max(largest[d], abs(slope))
        if not separate:
            largest[:] = largest.max()
        scales = np.float32(TEXTURE_BINS) / largest
        for y in range(height):
            for x in range(width):
                bins[y, x, 5 * channel] = first + array[y, x, channel] * COLOR_BINS // 256
                zero = first + COLOR_BINS + TEXTURE_BINS - 1
                for d, slope in enumerate(_directions(slopes[0, channel, y, x], slopes[1, channel, y, x])):
                    signed = max(-TEXTURE_BINS + 1, min(TEXTURE_BINS - 1, int(slope * scales[d])))  # towards zero
                    bins[y, x, 5 * channel + 1 + d] = zero + d * _SIGNED_BINS + signed


@njit(inline="always")
def _directions(right, down):  # type: ignore[no-untyped-def]
    half = np.float32(math.sqrt(0.5))
    return right, (right + down) * half, down, (down - right) * half


@compiled(nogil=True)
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
            for index in bins[y, x]:
                row[index] += 1
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


@compiled(nogil=True)
def _normalize(counts, sizes):  # type: ignore[no-untyped-def]
    """Return histograms color (n, 25 C) and texture (n, 80 C) of the counts in the bins of `quantize`."""
    count, channels = len(counts), counts.shape[1] // _CHANNEL_BINS
    color = np.empty((count, channels * COLOR_BINS), dtype=np.float32)
    texture = np.empty((count, channels * 8 * TEXTURE_BINS), dtype=np.float32)
    for segment in range(count):
        weight = np.float32(1 / (sizes[segment] * channels))
        for channel in range(channels):
            first = channel * _CHANNEL_BINS
            for index in range(COLOR_BINS):
                color[segment, channel * COLOR_BINS + index] = counts[segment, first + index] * weight
            for orientation in range(8):
                sign = 1 if orientation < 4 else -1
                zero = first + COLOR_BINS + (orientation % 4) * _SIGNED_BINS + TEXTURE_BINS - 1
                target = (channel * 8 + orientation) * TEXTURE_BINS
                rest = sizes[segment]  # pixels with a derivative of about 0 or of the opposite sign
                for index in range(1, TEXTURE_BINS):
                    pixels = counts[segment, zero + sign * index]
                    texture[segment, target + index] = pixels * weight / 8
                    rest -= pixels
                texture[segment, target] = rest * weight / 8
    return color, texture
