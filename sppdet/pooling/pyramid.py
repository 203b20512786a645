"""Spatial pyramid pooling (SPPnet, section 2.2): a window of any size becomes a vector of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.errors import ConfigError, InputError
from sppdet.pooling import kernels, operator

PoolingMode = Literal["max", "average"]

# Up to so many bins a side, torchvision's roi_pool on whole cells has the bins of adaptive pooling.
ROI_POOL_BINS = 6


@dataclass(frozen=True, eq=False)
class LaidOutMaps:
    """Maps (B, C, h, w) made ready for pooling, which is worth doing once for many calls.

    values: on the CPU float32 or float64 (B, h, w, C); elsewhere the maps as they were. has_nan: looked for on the CPU
    only, whose quicker kernel would lose it.
    """

    values: Tensor
    shape: torch.Size
    dtype: torch.dtype
    has_nan: bool


class SpatialPyramidPooling(nn.Module):
    """Pools feature maps, whole or in windows, over grids of n x n bins for each n of `levels`.

    A bin i of n over w cells is floor(i w / n) to ceil((i + 1) w / n): bins may overlap, are never empty and cover
    every cell, the same as `adaptive_max_pool2d`. The output is float (N, C * sum(n^2)): levels in the order given,
    within a level bin after bin in row-major order, the C channels of a bin together.

    >>> pool = SpatialPyramidPooling((4, 2, 1))
    >>> pool(torch.zeros(8, 256, 13, 17)).shape == (8, pool.out_features(256))
    True
    """

    def __init__(self, levels: tuple[int, ...] = (6, 3, 2, 1), mode: PoolingMode = "max") -> None:
        super().__init__()
        if not levels or any(not isinstance(n, int) or n < 1 for n in levels):
            raise ConfigError("not a pyramid", field="levels", expected="positive whole numbers", got=levels)
        if mode not in ("max", "average"):
            raise ConfigError("unknown pooling mode", field="mode", expected="max or average", got=mode)
        self.levels, self.mode = tuple(levels), mode

    def out_features(self, channels: int) -> int:
        """Length of the vector that maps of so many channels give."""
        return channels * sum(n * n for n in self.levels)

    def lay_out(self, maps: Tensor) -> LaidOutMaps:
        """Maps (B, C, h, w) for any number of calls without gradients."""
        _check_maps(maps)
        maps = maps.detach()
        if maps.device.type != "cpu":
            return LaidOutMaps(maps, maps.shape, maps.dtype, has_nan=False)
        values = operator.to_cells(maps)
        return LaidOutMaps(values, maps.shape, maps.dtype, bool(values.amax().isnan()))

    def forward(
        self,
        maps: Tensor | LaidOutMaps,
        windows: Tensor | None = None,
        image: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Pool maps (B, C, h, w): whole, giving (B, D), or in windows int64 (N, 4), giving (N, D).

        windows: x1 y1 x2 y2 in cells, half-open, at least one cell, inside the map. image: int64 (N,), the map of
        each window; all the first where not given. out: float32 (N, D) to write into, without gradients. Raises
        InputError for a map without cells or a bad window.
        """
        needs_gradient = isinstance(maps, Tensor) and maps.requires_grad and torch.is_grad_enabled()
        if isinstance(maps, Tensor) and not torch.compiler.is_compiling():
            if needs_gradient:
                _check_maps(maps)
            else:
                maps = self.lay_out(maps)
        batch, _, height, width = maps.shape
        if windows is None:
            windows = torch.tensor([[0, 0, width, height]]).expand(batch, 4)
            image = torch.arange(batch)
        elif image is None:
            image = torch.zeros(len(windows), dtype=torch.int64)
        windows, image = windows.cpu().contiguous(), image.cpu()
        if not torch.compiler.is_compiling():
            _check_windows(windows, image, batch, height, width)
        if isinstance(maps, LaidOutMaps):
            return self._pool(maps, windows, image, out)
        if out is not None:
            raise InputError("keeps no gradients", field="out", expected="maps that need none", got="maps that do")
        if maps.device.type != "cpu":
            return _pool_on_device(maps, windows, image, self.levels, self.mode)
        pooled, _ = operator.pool_windows(maps, windows, image, list(self.levels), self.mode)
        return pooled

    def _pool(self, maps: LaidOutMaps, windows: Tensor, image: Tensor, out: Tensor | None) -> Tensor:
        shape = (len(windows), self.out_features(maps.shape[1]))
        if out is not None and out.shape != shape:
            raise InputError("wrong shape", field="out", expected=shape, got=tuple(out.shape))
        if maps.values.device.type != "cpu":
            pooled = _pool_on_device(maps.values, windows, image, self.levels, self.mode)
            return pooled if out is None else out.copy_(pooled)
        fits = out is not None and out.dtype == maps.values.dtype and out.is_contiguous()
        pooled = out if out is not None and fits else maps.values.new_empty(shape)
        arrays = maps.values.numpy(), image.numpy(), windows.numpy(), np.array(self.levels, np.int64)
        bins = pooled.view(len(windows), self.out_features(1), maps.shape[1]).numpy()  # (N, bins, C)
        if self.mode == "average":
            kernels.average_forward(*arrays, bins)
        elif maps.has_nan:
            kernels.max_forward_with_argmax(
                *arrays, kernels.nest_levels(self.levels), bins, np.empty(bins.shape, np.int32)
            )
        else:
            kernels.max_forward(*arrays, kernels.nest_levels(self.levels), bins)
        if out is not None:
            return out if fits else out.copy_(pooled)
        return pooled.to(maps.dtype)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, mode={self.mode}"


def _pool_on_device(maps: Tensor, windows: Tensor, image: Tensor, levels: tuple[int, ...], mode: PoolingMode) -> Tensor:
    """The same by torchvision's and torch's own operators, for devices without a kernel of ours; finite maps only."""
    parents = kernels.nest_levels(levels).tolist()
    bins: list[Tensor] = [maps] * len(levels)  # (N, n, n, C) each
    for k in sorted(range(len(levels)), key=lambda k: parents[k] >= 0):
        n = levels[k]
        # The gradient of amax is shared among ties; read from the map it goes to the first cell, as on the CPU.
        if mode == "max" and parents[k] >= 0 and not maps.requires_grad:
            finer = bins[parents[k]]
            step = levels[parents[k]] // n
            bins[k] = finer.unflatten(1, (n, step)).unflatten(3, (n, step)).amax(dim=(2, 4))
        elif mode == "max" and n <= ROI_POOL_BINS:
            bins[k] = _roi_pool(maps, windows, image, n)
        else:
            bins[k] = _pool_slices(maps, windows, image, n, mode)
    return torch.cat([level.flatten(1) for level in bins], dim=1)  # (N, D)


def _roi_pool(maps: Tensor, windows: Tensor, image: Tensor, n: int) -> Tensor:
    """(N, n, n, C): roi_pool takes inclusive corners, and on whole cells has the bins of ours up to n = 6."""
    from torchvision.ops import roi_pool

    exact = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()  # it counts cells in this type
    corners = torch.cat([image[:, None], windows[:, :2], windows[:, 2:] - 1], dim=1)
    return roi_pool(exact, corners.to(exact), n).permute(0, 2, 3, 1).to(maps.dtype)


def _pool_slices(maps: Tensor, windows: Tensor, image: Tensor, n: int, mode: PoolingMode) -> Tensor:
    """(N, n, n, C) by torch's adaptive pooling of one slice after another."""
    pool = F.adaptive_max_pool2d if mode == "max" else F.adaptive_avg_pool2d
    rows = zip(windows.tolist(), image.tolist(), strict=True)
    parts = [pool(maps[b, :, y1:y2, x1:x2], n).permute(1, 2, 0) for (x1, y1, x2, y2), b in rows]
    return torch.stack(parts) if parts else maps.new_zeros(0, n, n, maps.shape[1])


def _check_maps(maps: Tensor) -> None:
    if maps.ndim != 4 or maps.numel() == 0:
        raise InputError("cannot be pooled", field="maps", expected="(B, C, h, w) with cells", got=tuple(maps.shape))


def _check_windows(windows: Tensor, image: Tensor, batch: int, height: int, width: int) -> None:
    expected = f"int64 (N, 4) half-open windows with cells, inside {height}x{width}, of images 0..{batch - 1}"
    if windows.ndim != 2 or windows.shape[1] != 4 or windows.dtype != torch.int64 or image.shape != (len(windows),):
        got = f"{windows.dtype} {tuple(windows.shape)}"
        raise InputError("wrong type or shape", field="windows", expected=expected, got=got)
    x1, y1, x2, y2 = windows.unbind(1)
    good = (x1 >= 0) & (y1 >= 0) & (x2 > x1) & (y2 > y1) & (x2 <= width) & (y2 <= height)
    good &= (image >= 0) & (image < batch)
    if not good.all():
        raise InputError("window off the map", field="windows", expected=expected, got=windows[~good][0].tolist())
