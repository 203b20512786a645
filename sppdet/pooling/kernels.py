"""Pyramid pooling of many windows on the CPU: forward and backward, compiled by numba.

A level of n bins per side divides a window into bins floor(i w / n) to ceil((i + 1) w / n) along both axes, as in
`adaptive_max_pool2d`. The finest level of a nest reads the map; a coarser max level that divides it takes the maxima of
its bins. Ties go to the first cell in row-major order.

Maps are channels-last (B, h, w, C), so the innermost loops run over neighbors in memory. Arrays are indexed before they
are sliced, because numba then sees that the slice is contiguous. No two threads write to the same place.
"""

import numpy as np
from numba import njit, prange
from torch import Tensor

from sppdet.pooling.layout import lay_out
from sppdet.runtime.compiled import compiled

PART = 16  # windows per task of a thread; fewer if that would make less than 16 tasks
SHARE = 16  # channels per task of a thread
PARTS = 4  # groups of windows in the backward pass, each with its own gradient maps


@njit(inline="always")
def _bin(i: int, n: int, start: int, end: int) -> tuple[int, int]:
    length = end - start
    return start + (i * length) // n, start - ((-(i + 1) * length) // n)


@njit(inline="always")
def _bins_of(out, r, start, bins, channels):  # type: ignore[no-untyped-def]
    """Return the bins (bins, C) of window r in out (N, D), where they begin in column `start`."""
    return out[r][start : start + bins * channels].reshape(bins, channels)


@compiled(parallel=True)
def max_forward(maps, index, windows, bins, out, start):  # type: ignore[no-untyped-def]
    """Fill out (N, D) with the maxima of maps (B, h, w, C) without NaN over windows (N, 4) of maps `index` (N,).

    bins: as in `lay_out`. start: column in out of the first.
    """
    batch, height, width, channels = maps.shape
    rows = maps.reshape(batch, height, width * channels)
    size = max(1, min(PART, len(windows) // PART))
    for part in prange(-(-len(windows) // size)):
        column = np.empty((width, channels), maps.dtype)  # the maxima of a bin's rows, cell by cell
        for r in range(part * size, min((part + 1) * size, len(windows))):
            x1, y1, x2, y2 = windows[r]
            pooled = _bins_of(out, r, start, len(bins), channels)
            for s in range(len(bins)):
                place, n, i, j, m, first = bins[s]
                if m:
                    _maximum_of_bins(pooled, first, m, m // n, pooled[place])
                    continue
                if j == 0:
                    top, bottom = _bin(i, n, y1, y2)
                    line = maps[index[r], top][x1:x2]
                    if bottom - top > 1:
                        flat = column.reshape(width * channels)
                        _maximum_of_rows(rows[index[r]], top, bottom, x1 * channels, x2 * channels, flat)
                        line = column
                left, right = _bin(j, n, 0, x2 - x1)
                _maximum_of_rows(line, left, right, 0, channels, pooled[place])


@njit(inline="always")
def _larger(value, best):  # type: ignore[no-untyped-def]
    return value if value > best else best


@njit
def _maximum_of_rows(rows, top, bottom, left, right, best):  # type: ignore[no-untyped-def]
    """best[: right - left] = maximum over rows top to bottom of rows[:, left:right], two rows at a time."""
    one = rows[top, left:right]
    if (bottom - top) % 2 == 0:
        two = rows[top + 1, left:right]
        for t in range(right - left):
            best[t] = _larger(two[t], one[t])
    else:
        for t in range(right - left):
            best[t] = one[t]
    for y in range(bottom - (bottom - top - 1) // 2 * 2, bottom, 2):
        one, two = rows[y, left:right], rows[y + 1, left:right]
        for t in range(right - left):
            best[t] = _larger(two[t], _larger(one[t], best[t]))


@njit
def _maximum_of_bins(pooled, first, m, step, best):  # type: ignore[no-untyped-def]
    """best (C,) = maximum of `step` x `step` bins of pooled (bins, C), from bin `first` of a level of m per side."""
    value = pooled[first]
    for c in range(len(best)):
        best[c] = value[c]
    for a in range(step):
        for b in range(step):
            value = pooled[first + a * m + b]
            for c in range(len(best)):
                best[c] = _larger(value[c], best[c])


@compiled(parallel=True)
def max_forward_with_argmax(maps, index, windows, bins, out, start, argmax):  # type: ignore[no-untyped-def]
    """As `max_forward`, with the row-major cell of each maximum in argmax int32 (N, bins, C). NaN wins, as in torch."""
    width, channels = maps.shape[2:]
    for r in prange(len(windows)):
        x1, y1, x2, y2 = windows[r]
        pooled = _bins_of(out, r, start, len(bins), channels)
        for s in range(len(bins)):
            place, n, i, j, m, first = bins[s]
            best, where = pooled[place], argmax[r, place]
            if m:
                for a in range(m // n):
                    for b in range(m // n):
                        child = first + a * m + b
                        _keep_bin(pooled[child], argmax[r, child], best, where, child == first)
                continue
            top, bottom = _bin(i, n, y1, y2)
            left, right = _bin(j, n, x1, x2)
            for y in range(top, bottom):
                for x in range(left, right):
                    new = y == top and x == left
                    _keep_cell(maps[index[r], y, x], y * width + x, best, where, new)


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


@compiled(parallel=True)
def max_backward(gradient, argmax, index, grad_maps):  # type: ignore[no-untyped-def]
    """Add gradient (N, bins, C) to grad_maps (B, h * w, C) at the cells of `argmax`.

    A fixed number of parts of the windows each sum into maps of their own, which are then added in order: the sums are
    the same on any number of threads.
    """
    windows, bins, channels = gradient.shape
    batch, places = grad_maps.shape[:2]
    sums = np.zeros((PARTS, batch, places, channels), gradient.dtype)
    for part in prange(PARTS):
        for r in range(part * windows // PARTS, (part + 1) * windows // PARTS):
            target = sums[part, index[r]]
            for s in range(bins):
                cells, value = argmax[r, s], gradient[r, s]
                for c in range(channels):
                    target[cells[c], c] += value[c]
    for place in prange(places):
        for b in range(batch):
            total = grad_maps[b, place]
            for part in range(PARTS):
                share = sums[part, b, place]
                for c in range(channels):
                    total[c] += share[c]


@compiled(parallel=True)
def average_forward(maps, index, windows, bins, out, start):  # type: ignore[no-untyped-def]
    """Fill out (N, D) with means. Averages do not nest (bins share cells), so each level reads the map."""
    for r in prange(len(windows)):
        x1, y1, x2, y2 = windows[r]
        pooled = _bins_of(out, r, start, len(bins), maps.shape[3])
        for s in range(len(bins)):
            place, n, i, j, _, _ = bins[s]
            top, bottom = _bin(i, n, y1, y2)
            left, right = _bin(j, n, x1, x2)
            mean = pooled[place]
            mean[:] = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    value = maps[index[r], y, x]
                    for c in range(len(mean)):
                        mean[c] += value[c]
            mean /= (bottom - top) * (right - left)


@compiled(parallel=True)
def average_backward(gradient, index, windows, bins, grad_maps):  # type: ignore[no-untyped-def]
    """Spread gradient (N, bins, C) evenly over each bin's cells of grad_maps (B, h, w, C)."""
    channels = gradient.shape[2]
    for part in prange(-(-channels // SHARE)):
        start, end = part * SHARE, min((part + 1) * SHARE, channels)
        for r in range(len(windows)):
            x1, y1, x2, y2 = windows[r]
            for s in range(len(bins)):
                place, n, i, j, _, _ = bins[s]
                top, bottom = _bin(i, n, y1, y2)
                left, right = _bin(j, n, x1, x2)
                share = gradient[r, place]
                count = (bottom - top) * (right - left)
                for y in range(top, bottom):
                    for x in range(left, right):
                        target = grad_maps[index[r], y, x]
                        for c in range(start, end):
                            target[c] += share[c] / count


def forward(
    cells: Tensor,
    index: Tensor,
    windows: Tensor,
    levels: tuple[int, ...],
    mode: str,
    out: Tensor,
    start: int = 0,
    argmax: Tensor | None = None,
) -> None:
    """Fill out (N, D) from column `start`, and argmax (N, bins, C) if it is given, from maps (B, h, w, C).

    out is contiguous; the other columns stay as they are. Max without argmax drops NaN.
    """
    bins = lay_out(levels, nested=mode == "max")
    arrays = cells.numpy(), index.numpy(), windows.numpy(), bins, out.numpy(), start
    if mode == "average":
        average_forward(*arrays)
    elif argmax is None:
        max_forward(*arrays)
    else:
        max_forward_with_argmax(*arrays, argmax.numpy())


def backward(
    gradient: Tensor,
    argmax: Tensor,
    index: Tensor,
    windows: Tensor,
    levels: tuple[int, ...],
    mode: str,
    cells: Tensor,
) -> None:
    """Add gradient (N, bins, C) to cells (B, h, w, C). argmax: as `forward` filled it; not read for average."""
    if mode == "average":
        layout = lay_out(levels, nested=False)
        average_backward(gradient.numpy(), index.numpy(), windows.numpy(), layout, cells.numpy())
    else:
        max_backward(gradient.numpy(), argmax.numpy(), index.numpy(), cells.flatten(1, 2).numpy())
