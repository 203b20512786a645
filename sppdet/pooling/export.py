"""Pyramid pooling by operators of ONNX, for maps of dynamic height and width."""

import torch
from torch import Tensor

from sppdet.pooling.forms import PoolingMode


def gather_level(maps: Tensor, n: int, mode: PoolingMode) -> Tensor:
    """Pool maps (B, C, h, w) to (B, C, n, n) as `adaptive_max_pool2d` does, which ONNX has only for fixed h and w.

    Equal bit for bit for max. Averages are averaged over rows, then over columns, and differ by rounding.
    """
    _, _, height, width = maps.shape  # torch's older exporter takes sizes of computed tensors for constants
    return _gather_axis(_gather_axis(maps, 2, height, n, mode), 3, width, n, mode)


def _gather_axis(maps: Tensor, axis: int, cells: int, n: int, mode: PoolingMode) -> Tensor:
    """Reduce an axis of `maps`, a cells long, to n bins floor(i a / n) to ceil((i + 1) a / n)."""
    i = torch.arange(n, device=maps.device)
    start, end = i * cells // n, ((i + 1) * cells + n - 1) // n
    # No bin has more cells than this; one with fewer repeats its last.
    place = start[:, None] + torch.arange(cells // n + 2, device=maps.device)  # (n, k)
    index = torch.minimum(place, end[:, None] - 1)
    gathered = maps.index_select(axis, index.flatten()).unflatten(axis, (n, -1))  # (B, C, .., n, k, ..)
    if mode == "max":
        return gathered.amax(axis + 1)
    inside = (place < end[:, None]).to(maps.dtype)
    weight = (inside / inside.sum(1, keepdim=True)).reshape(n, -1, *[1] * (3 - axis))
    return (gathered * weight).sum(axis + 1)
