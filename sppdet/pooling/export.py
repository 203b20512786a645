"""Pyramid pooling by operators that ONNX has, for maps whose height and width stay free."""

from __future__ import annotations

import torch
from torch import Tensor

from sppdet.pooling.forms import PoolingMode


def gather_level(maps: Tensor, n: int, mode: PoolingMode) -> Tensor:
    """Maps (B, C, h, w) as (B, C, n, n): the bins of `adaptive_max_pool2d`, which ONNX has only for known h and w.

    Bit for bit for max; averages, of columns of averages of rows, differ by rounding.
    """
    _, _, height, width = maps.shape  # torch's older exporter takes the sizes of what is computed for constants
    return _gather_axis(_gather_axis(maps, 2, height, n, mode), 3, width, n, mode)


def _gather_axis(maps: Tensor, axis: int, cells: int, n: int, mode: PoolingMode) -> Tensor:
    """The axis of `maps`, a cells long, reduced to n bins, floor(i a / n) to ceil((i + 1) a / n).

    No bin has more than floor(a / n) + 2 cells, so that many are gathered for each; a bin of fewer gets its last one
    again, which changes no maximum and is left out of a mean.
    """
    i = torch.arange(n, device=maps.device)
    start, end = i * cells // n, ((i + 1) * cells + n - 1) // n
    place = start[:, None] + torch.arange(cells // n + 2, device=maps.device)  # (n, k)
    index = torch.minimum(place, end[:, None] - 1)
    gathered = maps.index_select(axis, index.flatten()).unflatten(axis, (n, -1))  # (B, C, .., n, k, ..)
    if mode == "max":
        return gathered.amax(axis + 1)
    inside = (place < end[:, None]).to(maps.dtype)
    weight = (inside / inside.sum(1, keepdim=True)).reshape(n, -1, *[1] * (3 - axis))
    return (gathered * weight).sum(axis + 1)
