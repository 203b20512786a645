"""Pyramid pooling by operators of ONNX, for maps of dynamic height and width, and for windows of one."""

import torch
from torch import Tensor

from sppdet.pooling.forms import PoolingMode
from sppdet.pooling.layout import nest_levels


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


def gather_windows(maps: Tensor, windows: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Pool windows int64 (N, 4) of a map (1, C, h, w) to (N, D), the maxima of `SpatialPyramidPooling`.

    Only for graphs that are exported: MaxRoiPool is an operator of ONNX. It divides a region in float32, so each bin is
    a region of its own. Levels that divide another are maxima of its bins.
    """
    parents, pooled = nest_levels(levels).tolist(), dict[int, Tensor]()
    for k in sorted(range(len(levels)), key=lambda k: parents[k] >= 0):
        n = levels[k]
        if parents[k] < 0:
            bins = _pool_bins(maps, _find_bins(windows, n))
            pooled[k] = bins.reshape(-1, n, n, maps.shape[1])
        else:
            parts = n, levels[parents[k]] // n
            pooled[k] = pooled[parents[k]].unflatten(1, parts).unflatten(3, parts).amax((2, 4))
    return torch.cat([pooled[k].flatten(1) for k in range(len(levels))], dim=1)


def _find_bins(windows: Tensor, n: int) -> Tensor:
    """Return the bins int64 (N * n * n, 4) of windows, row by row: x1 y1 x2 y2 in cells, the last ones inclusive."""
    i = torch.arange(n, device=windows.device)
    starts, cells = windows[:, :2, None], (windows[:, 2:] - windows[:, :2])[:, :, None]
    x1, y1 = (starts + i * cells // n).unbind(1)  # (N, n)
    x2, y2 = (starts + ((i + 1) * cells + n - 1) // n - 1).unbind(1)
    parts = x1[:, None, :], y1[:, :, None], x2[:, None, :], y2[:, :, None]
    return torch.stack([part.expand(-1, n, n) for part in parts], dim=3).reshape(-1, 4)


def _pool_bins(maps: Tensor, bins: Tensor) -> Tensor:
    regions = torch.nn.functional.pad(bins.to(maps.dtype), (1, 0))  # a first column 0, the map
    shape = bins.shape[0], maps.shape[1], 1, 1
    return torch.onnx.ops.symbolic(
        "MaxRoiPool", (maps, regions), {"pooled_shape": [1, 1]}, dtype=maps.dtype, shape=shape
    )
