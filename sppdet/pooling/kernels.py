"""Pyramid pooling of many windows on the CPU: forward and backward, compiled by numba.

Maps are channels-last (B, h, w, C). A level of n bins a side gives, for each window, bins floor(i w / n) to
ceil((i + 1) w / n) in both directions, the bins of `adaptive_max_pool2d`. Each finest level of a nest reads the map;
a coarser max level that divides it is the maximum of its bins. Ties go to the first cell in row-major order.

Threads: these kernels run parallel over windows (forward) or channels (backward), so call them from one thread.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(inline="always")
def _bin(i: int, n: int, length: int) -> tuple[int, int]:
    return (i * length) // n, -((-(i + 1) * length) // n)


@njit(parallel=True, cache=True)
def max_forward(maps, image, windows, levels, parents, out):  # type: ignore[no-untyped-def]
    """Fill out (N, bins, C) with the maxima of maps (B, h, w, C) over windows (N, 4) of images (N,).

    levels (L,): bins a side. parents (L,): -1 where a level reads the map, else the level it is nested in.
    """
    starts, order = _level_starts(levels), _level_order(parents)
    channels = maps.shape[3]
    for r in prange(len(windows)):
        x1, y1, x2, y2 = windows[r]
        for k in order:
            n = levels[k]
            for i in range(n):
                for j in range(n):
                    cell = out[r, starts[k] + i * n + j]
                    if parents[k] >= 0:
                        m = levels[parents[k]]
                        step = m // n
                        first = True
                        for a in range(i * step, (i + 1) * step):
                            for b in range(j * step, (j + 1) * step):
                                child = out[r, starts[parents[k]] + a * m + b]
                                _keep_maximum(child, cell, channels, first)
                                first = False
                    else:
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        first = True
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                _keep_maximum(maps[image[r], y, x], cell, channels, first)
                                first = False


@njit(inline="always")
def _keep_maximum(value, best, channels, first):  # type: ignore[no-untyped-def]
    if first:
        for c in range(channels):
            best[c] = value[c]
    else:
        for c in range(channels):
            # NaN wins, as in torch.
            best[c] = value[c] if (value[c] > best[c] or value[c] != value[c]) else best[c]


@njit(parallel=True, cache=True)
def max_forward_with_argmax(maps, image, windows, levels, parents, out, argmax):  # type: ignore[no-untyped-def]
    """As `max_forward`, and the row-major cell of each maximum in argmax int32 (N, bins, C)."""
    starts, order = _level_starts(levels), _level_order(parents)
    width, channels = maps.shape[2], maps.shape[3]
    for r in prange(len(windows)):
        x1, y1, x2, y2 = windows[r]
        for k in order:
            n = levels[k]
            for i in range(n):
                for j in range(n):
                    slot = starts[k] + i * n + j
                    argmax[r, slot, :] = -1
                    if parents[k] >= 0:
                        m = levels[parents[k]]
                        step = m // n
                        for a in range(i * step, (i + 1) * step):
                            for b in range(j * step, (j + 1) * step):
                                child = starts[parents[k]] + a * m + b
                                for c in range(channels):
                                    value, cell = out[r, child, c], argmax[r, child, c]
                                    best = out[r, slot, c]
                                    earlier = value == best and cell < argmax[r, slot, c]
                                    if argmax[r, slot, c] < 0 or value > best or value != value or earlier:
                                        out[r, slot, c] = value
                                        argmax[r, slot, c] = cell
                    else:
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                for c in range(channels):
                                    value = maps[image[r], y, x, c]
                                    if argmax[r, slot, c] < 0 or value > out[r, slot, c] or value != value:
                                        out[r, slot, c] = value
                                        argmax[r, slot, c] = y * width + x


@njit(parallel=True, cache=True)
def max_backward(gradient, argmax, image, grad_maps):  # type: ignore[no-untyped-def]
    """Add gradient (N, bins, C) to grad_maps (B, h * w, C) at the cells of `argmax`."""
    for c in prange(gradient.shape[2]):
        for r in range(gradient.shape[0]):
            for s in range(gradient.shape[1]):
                grad_maps[image[r], argmax[r, s, c], c] += gradient[r, s, c]


@njit(parallel=True, cache=True)
def average_forward(maps, image, windows, levels, out):  # type: ignore[no-untyped-def]
    """Fill out (N, bins, C) with means. Averages do not nest (bins share cells), so each level reads the map."""
    starts = _level_starts(levels)
    for r in prange(len(windows)):
        x1, y1, x2, y2 = windows[r]
        for k in range(len(levels)):
            n = levels[k]
            for i in range(n):
                for j in range(n):
                    top, bottom = _bin(i, n, y2 - y1)
                    left, right = _bin(j, n, x2 - x1)
                    cell = out[r, starts[k] + i * n + j]
                    cell[:] = 0
                    for y in range(y1 + top, y1 + bottom):
                        for x in range(x1 + left, x1 + right):
                            for c in range(maps.shape[3]):
                                cell[c] += maps[image[r], y, x, c]
                    cell /= (bottom - top) * (right - left)


@njit(parallel=True, cache=True)
def average_backward(gradient, image, windows, levels, grad_maps):  # type: ignore[no-untyped-def]
    """Spread gradient (N, bins, C) evenly over each bin's cells of grad_maps (B, h, w, C)."""
    starts = _level_starts(levels)
    for c in prange(gradient.shape[2]):
        for r in range(len(windows)):
            x1, y1, x2, y2 = windows[r]
            for k in range(len(levels)):
                n = levels[k]
                for i in range(n):
                    for j in range(n):
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        share = gradient[r, starts[k] + i * n + j, c] / ((bottom - top) * (right - left))
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                grad_maps[image[r], y, x, c] += share


@njit(inline="always")
def _level_starts(levels):  # type: ignore[no-untyped-def]
    starts = np.zeros(len(levels) + 1, np.int64)
    for k in range(len(levels)):
        starts[k + 1] = starts[k] + levels[k] * levels[k]
    return starts


@njit(inline="always")
def _level_order(parents):  # type: ignore[no-untyped-def]
    """Levels that read the map first, then those nested in them."""
    return np.argsort(parents >= 0, kind="mergesort")


def nest_levels(levels: tuple[int, ...]) -> np.ndarray:
    """parents int64 (L,): for each level the finest level that it divides and is coarser than (an index), or -1.

    The parent of a nested level always reads the map itself: a finest multiple has no multiple of its own.
    """
    parents = np.full(len(levels), -1, np.int64)
    for k, n in enumerate(levels):
        finer = [(m, -p) for p, m in enumerate(levels) if m % n == 0 and (m > n or p < k)]
        if finer:
            parents[k] = -max(finer)[1]
    return parents
