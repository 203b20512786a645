"""Pyramid pooling of many windows on CUDA: the counterparts of `kernels`, written in Triton.

A program fills one bin of one window, for a block of channels; maps are channels-last, so that its threads read
neighbors. A thousand windows of 50 bins keep a GPU busy, and the map stays in its cache.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from sppdet.pooling.layout import lay_out

MOST_CHANNELS = 512  # channels per program, four per thread


@triton.jit
def _cells_of_bin(bins, windows, bin, window):  # type: ignore[no-untyped-def]
    """Return the bin's place in the vector and its cells, from top to bottom and left to right."""
    place, n = tl.load(bins + 6 * bin), tl.load(bins + 6 * bin + 1)
    i, j = tl.load(bins + 6 * bin + 2), tl.load(bins + 6 * bin + 3)
    x1, y1 = tl.load(windows + 4 * window), tl.load(windows + 4 * window + 1)
    w, h = tl.load(windows + 4 * window + 2) - x1, tl.load(windows + 4 * window + 3) - y1
    return place, y1 + i * h // n, y1 + ((i + 1) * h + n - 1) // n, x1 + j * w // n, x1 + ((j + 1) * w + n - 1) // n


@triton.jit
def _pool_cells(  # type: ignore[no-untyped-def]
    maps,
    windows,
    index,
    bins,
    out,
    argmax,
    count,
    total,
    row,
    start,
    height,
    width,
    channels,
    MEAN: tl.constexpr,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Fill a bin with the maximum or mean of its cells. KEEP: also write the cell of each maximum. NaN wins.

    count: bins to fill of each window. total: all its bins. row: length of a row of out. start: column of its bins.
    """
    window, bin = tl.program_id(0).to(tl.int64) // count, tl.program_id(0) % count
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < channels
    place, top, bottom, left, right = _cells_of_bin(bins, windows, bin, window)
    image = tl.load(index + window) * height * width
    best = tl.full([BLOCK], 0.0 if MEAN else float("-inf"), out.dtype.element_ty)
    cell = tl.full([BLOCK], 0, tl.int32) + (top * width + left).to(tl.int32)
    for y in range(top, bottom):
        for x in range(left, right):
            value = tl.load(maps + (image + y * width + x) * channels + c, inside, 0.0)
            if MEAN:
                best += value
            else:
                take = (value > best) | (value != value)
                best = tl.where(take, value, best)
                if KEEP:
                    cell = tl.where(take, (y * width + x).to(tl.int32), cell)
    if MEAN:
        best = best / ((bottom - top) * (right - left)).to(out.dtype.element_ty)
    tl.store(out + window * row + start + place * channels + c, best, inside)
    if KEEP:
        tl.store(argmax + (window * total + place) * channels + c, cell, inside)


@triton.jit
def _pool_bins(  # type: ignore[no-untyped-def]
    out, argmax, bins, count, total, row, start, channels, KEEP: tl.constexpr, BLOCK: tl.constexpr
):
    """Fill a bin with the maximum of the finer bins that are nested in it. At a tie the first cell is kept."""
    window, bin = tl.program_id(0).to(tl.int64) // count, tl.program_id(0) % count
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < channels
    place, n = tl.load(bins + 6 * bin), tl.load(bins + 6 * bin + 1)
    m, first = tl.load(bins + 6 * bin + 4), tl.load(bins + 6 * bin + 5)
    vector, cells = out + window * row + start + c, argmax + window * total * channels + c
    best = tl.full([BLOCK], float("-inf"), out.dtype.element_ty)
    cell = tl.load(cells + first * channels, inside, 0) if KEEP else 0
    for a in range(0, m // n):
        for b in range(0, m // n):
            child = (first + a * m + b) * channels
            value = tl.load(vector + child, inside, 0.0)
            take = (value > best) | (value != value)
            if KEEP:
                where = tl.load(cells + child, inside, 0)
                take = take | ((value == best) & (where < cell))
                cell = tl.where(take, where, cell)
            best = tl.where(take, value, best)
    tl.store(vector + place * channels, best, inside)
    if KEEP:
        tl.store(cells + place * channels, cell, inside)


@triton.jit
def _spread(  # type: ignore[no-untyped-def]
    gradient,
    argmax,
    windows,
    index,
    bins,
    target,
    count,
    height,
    width,
    channels,
    MEAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add a bin's gradient to the cell of its maximum, or evenly to its cells."""
    window, bin = tl.program_id(0).to(tl.int64) // count, tl.program_id(0) % count
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < channels
    place, top, bottom, left, right = _cells_of_bin(bins, windows, bin, window)
    image = tl.load(index + window) * height * width
    source = (window * count + place) * channels + c
    value = tl.load(gradient + source, inside, 0.0)
    if MEAN:
        value = value / ((bottom - top) * (right - left)).to(gradient.dtype.element_ty)
        for y in range(top, bottom):
            for x in range(left, right):
                tl.atomic_add(target + (image + y * width + x) * channels + c, value, inside)
    else:
        cell = tl.load(argmax + source, inside, 0)
        tl.atomic_add(target + (image + cell) * channels + c, value, inside)


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
    """Fill out (N, D) from column `start`, and argmax (N, bins, C) if it is given, from maps (B, h, w, C)."""
    _, height, width, channels = cells.shape
    windows, index = windows.to(cells.device), index.to(cells.device)
    block, total, keep = _block(channels), sum(n * n for n in levels), argmax is not None
    indices = argmax if keep else out  # a pointer that is not followed
    read, nested = _bins(levels, mode == "max", cells.device)
    with torch.cuda.device_of(cells):
        for bins in (read, nested):
            grid = len(windows) * len(bins), -(-channels // block)
            if grid[0] and bins is read:
                sizes = len(bins), total, out.shape[1], start, height, width, channels
                _pool_cells[grid](cells, windows, index, bins, out, indices, *sizes, mode == "average", keep, block)
            elif grid[0]:
                _pool_bins[grid](out, indices, bins, len(bins), total, out.shape[1], start, channels, keep, block)


def backward(
    gradient: Tensor,
    argmax: Tensor,
    index: Tensor,
    windows: Tensor,
    levels: tuple[int, ...],
    mode: str,
    cells: Tensor,
) -> None:
    """Add gradient (N, bins, C) to cells (B, h, w, C). Sums are made in any order: their last bits may differ."""
    _, height, width, channels = cells.shape
    windows, index, block = windows.to(cells.device), index.to(cells.device), _block(channels)
    bins, _ = _bins(levels, False, cells.device)
    grid = len(windows) * len(bins), -(-channels // block)
    if grid[0]:
        sizes = len(bins), height, width, channels
        with torch.cuda.device_of(cells):
            _spread[grid](gradient, argmax, windows, index, bins, cells, *sizes, mode == "average", block)


def _block(channels: int) -> int:
    return min(MOST_CHANNELS, triton.next_power_of_2(channels))


@functools.cache
def _bins(levels: tuple[int, ...], nest: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the bins that read the map, and those nested in them, as `lay_out` describes them."""
    bins = torch.from_numpy(lay_out(levels, nest)).to(device)
    nested = bins[:, 4] > 0
    return bins[~nested].contiguous(), bins[nested].contiguous()
