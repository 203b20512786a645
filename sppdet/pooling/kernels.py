"""Pyramid pooling of many windows on the CPU: forward and backward, compiled by numba.

A level of n bins a side gives, for each window, bins floor(i w / n) to ceil((i + 1) w / n) in both directions, the bins
of `adaptive_max_pool2d`. Each finest level of a nest reads the map; a coarser max level that divides it is the maximum
of its bins. Ties go to the first cell in row-major order.

Maps come in blocks (G, B, h, w, BLOCK), channel g * BLOCK + c at [g, ..., c], the last block filled up: a thread takes
one block through many windows, so that the block stays in its cache. All kernels run parallel over the blocks (and
parts of the windows), and no two threads write to one place; call them from one thread.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BLOCK = 64  # channels: a 43 x 57 map's share of them takes 0.6 MB
PART = 64  # windows that a thread takes at a time


@njit(inline="always")
def _bin(i: int, n: int, length: int) -> tuple[int, int]:
    return (i * length) // n, -((-(i + 1) * length) // n)


@njit(parallel=True, cache=True)
def max_forward(blocks, image, windows, levels, parents, out):  # type: ignore[no-untyped-def]
    """Fill out (N, bins, C) with the maxima of maps without NaN over windows (N, 4) of images (N,).

    levels (L,): bins a side. parents (L,): -1 where a level reads the map, else the level it is nested in.
    """
    starts, order = _level_starts(levels), _level_order(parents)
    groups, batch, height, width, _ = blocks.shape
    rows = blocks.reshape(groups, batch, height, width * BLOCK)
    parts = -(-len(windows) // PART)
    for task in prange(groups * parts):
        group = task // parts
        first = task % parts * PART
        channels = min(BLOCK, out.shape[2] - group * BLOCK)
        column = np.empty(width * BLOCK, blocks.dtype)  # the maxima of a bin's rows, cell by cell
        for r in range(first, min(first + PART, len(windows))):
            x1, y1, x2, y2 = windows[r]
            pooled = out[r]
            for k in order:
                n, start = levels[k], starts[k]
                if parents[k] >= 0:
                    m, finer = levels[parents[k]], starts[parents[k]]
                    for i in range(n):
                        for j in range(n):
                            # A row first, then its slice: numba knows that this is contiguous.
                            best = pooled[start + i * n + j][group * BLOCK : group * BLOCK + channels]
                            _maximum_of_bins(pooled, finer, m, i * (m // n), j * (m // n), m // n, group, best)
                    continue
                for i in range(n):
                    top, bottom = _bin(i, n, y2 - y1)
                    _maximum_of_rows(rows[group, image[r]], y1 + top, y1 + bottom, x1 * BLOCK, x2 * BLOCK, column)
                    for j in range(n):
                        left, right = _bin(j, n, x2 - x1)
                        best = pooled[start + i * n + j][group * BLOCK : group * BLOCK + channels]
                        _maximum_of_cells(column, left, right, best)


@njit(inline="always")
def _larger(value, best):  # type: ignore[no-untyped-def]
    return value if value > best else best


@njit
def _maximum_of_rows(rows, top, bottom, left, right, column):  # type: ignore[no-untyped-def]
    """column[: right - left] = maximum over rows top to bottom of rows[:, left:right], two rows a time."""
    one = rows[top, left:right]
    if (bottom - top) % 2 == 0:
        two = rows[top + 1, left:right]
        for t in range(right - left):
            column[t] = _larger(two[t], one[t])
    else:
        for t in range(right - left):
            column[t] = one[t]
    for y in range(bottom - (bottom - top - 1) // 2 * 2, bottom, 2):
        one, two = rows[y, left:right], rows[y + 1, left:right]
        for t in range(right - left):
            column[t] = _larger(two[t], _larger(one[t], column[t]))


@njit
def _maximum_of_cells(column, left, right, best):  # type: ignore[no-untyped-def]
    """best (channels,) = maximum over cells left to right of a column (w * BLOCK,), two cells a time."""
    channels = len(best)
    one = column[left * BLOCK : left * BLOCK + channels]
    if (right - left) % 2 == 0:
        two = column[(left + 1) * BLOCK : (left + 1) * BLOCK + channels]
        for c in range(channels):
            best[c] = _larger(two[c], one[c])
    else:
        for c in range(channels):
            best[c] = one[c]
    for x in range(right - (right - left - 1) // 2 * 2, right, 2):
        one = column[x * BLOCK : x * BLOCK + channels]
        two = column[(x + 1) * BLOCK : (x + 1) * BLOCK + channels]
        for c in range(channels):
            best[c] = _larger(two[c], _larger(one[c], best[c]))


@njit
def _maximum_of_bins(pooled, finer, m, i, j, step, group, best):  # type: ignore[no-untyped-def]
    """best (channels,) = maximum of `step` x `step` bins of pooled (bins, C), at (i, j) of the level that starts at
    `finer` with m bins a side."""
    for a in range(step):
        for b in range(step):
            value = pooled[finer + (i + a) * m + j + b][group * BLOCK : group * BLOCK + len(best)]
            if a == 0 and b == 0:
                for c in range(len(best)):
                    best[c] = value[c]
            else:
                for c in range(len(best)):
                    best[c] = _larger(value[c], best[c])


@njit(parallel=True, cache=True)
def max_forward_with_argmax(blocks, image, windows, levels, parents, out, argmax):  # type: ignore[no-untyped-def]
    """As `max_forward`, and the row-major cell of each maximum in argmax int32 (N, bins, C). NaN wins, as in torch."""
    starts, order = _level_starts(levels), _level_order(parents)
    groups, width = blocks.shape[0], blocks.shape[3]
    parts = -(-len(windows) // PART)
    for task in prange(groups * parts):
        group = task // parts
        first = task % parts * PART
        channels = min(BLOCK, out.shape[2] - group * BLOCK)
        start_c, end_c = group * BLOCK, group * BLOCK + channels
        for r in range(first, min(first + PART, len(windows))):
            x1, y1, x2, y2 = windows[r]
            cells = blocks[group, image[r]]
            for k in order:
                n, start = levels[k], starts[k]
                for i in range(n):
                    for j in range(n):
                        slot = start + i * n + j
                        best, where = out[r, slot][start_c:end_c], argmax[r, slot][start_c:end_c]
                        if parents[k] >= 0:
                            m, finer = levels[parents[k]], starts[parents[k]]
                            step = m // n
                            for a in range(i * step, (i + 1) * step):
                                for b in range(j * step, (j + 1) * step):
                                    child = finer + a * m + b
                                    new = a == i * step and b == j * step
                                    value, cell = out[r, child][start_c:end_c], argmax[r, child][start_c:end_c]
                                    _keep_bin(value, cell, best, where, new)
                            continue
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                new = y == y1 + top and x == x1 + left
                                _keep_cell(cells[y, x], y * width + x, best, where, new)


@njit
def _keep_cell(value, cell, best, where, new):  # type: ignore[no-untyped-def]
    for c in range(len(best)):
        take = new or value[c] > best[c] or value[c] != value[c]
        best[c] = value[c] if take else best[c]
        where[c] = cell if take else where[c]


@njit
def _keep_bin(value, cell, best, where, new):  # type: ignore[no-untyped-def]
    for c in range(len(best)):
        earlier = value[c] == best[c] and cell[c] < where[c]
        take = new or value[c] > best[c] or value[c] != value[c] or earlier
        best[c] = value[c] if take else best[c]
        where[c] = cell[c] if take else where[c]


@njit(parallel=True, cache=True)
def max_backward(gradient, argmax, image, grad_blocks):  # type: ignore[no-untyped-def]
    """Add gradient (N, bins, C) to grad_blocks (G, B, h * w, BLOCK) at the cells of `argmax`."""
    for group in prange(len(grad_blocks)):
        start = group * BLOCK
        channels = min(BLOCK, gradient.shape[2] - start)
        for r in range(gradient.shape[0]):
            target = grad_blocks[group, image[r]]
            for s in range(gradient.shape[1]):
                cells, value = argmax[r, s][start : start + channels], gradient[r, s][start : start + channels]
                for c in range(channels):
                    target[cells[c], c] += value[c]


@njit(parallel=True, cache=True)
def average_forward(blocks, image, windows, levels, out):  # type: ignore[no-untyped-def]
    """Fill out (N, bins, C) with means. Averages do not nest (bins share cells), so each level reads the map."""
    starts = _level_starts(levels)
    parts = -(-len(windows) // PART)
    for task in prange(len(blocks) * parts):
        group = task // parts
        first = task % parts * PART
        channels = min(BLOCK, out.shape[2] - group * BLOCK)
        for r in range(first, min(first + PART, len(windows))):
            x1, y1, x2, y2 = windows[r]
            cells = blocks[group, image[r]]
            for k in range(len(levels)):
                n = levels[k]
                for i in range(n):
                    for j in range(n):
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        mean = out[r, starts[k] + i * n + j][group * BLOCK : group * BLOCK + channels]
                        mean[:] = 0
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                value = cells[y, x]
                                for c in range(channels):
                                    mean[c] += value[c]
                        mean /= (bottom - top) * (right - left)


@njit(parallel=True, cache=True)
def average_backward(gradient, image, windows, levels, grad_blocks):  # type: ignore[no-untyped-def]
    """Spread gradient (N, bins, C) evenly over each bin's cells of grad_blocks (G, B, h, w, BLOCK)."""
    starts = _level_starts(levels)
    for group in prange(len(grad_blocks)):
        first = group * BLOCK
        channels = min(BLOCK, gradient.shape[2] - first)
        for r in range(len(windows)):
            x1, y1, x2, y2 = windows[r]
            cells = grad_blocks[group, image[r]]
            for k in range(len(levels)):
                n = levels[k]
                for i in range(n):
                    for j in range(n):
                        top, bottom = _bin(i, n, y2 - y1)
                        left, right = _bin(j, n, x2 - x1)
                        share = gradient[r, starts[k] + i * n + j][first : first + channels]
                        count = (bottom - top) * (right - left)
                        for y in range(y1 + top, y1 + bottom):
                            for x in range(x1 + left, x1 + right):
                                target = cells[y, x]
                                for c in range(channels):
                                    target[c] += share[c] / count


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
