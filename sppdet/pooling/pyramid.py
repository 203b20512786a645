"""Spatial pyramid pooling (SPPnet, section 2.2): a window of any size becomes a vector of fixed length."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sppdet.errors import InputError
from sppdet.pooling.checks import check_maps, check_out, check_regions, check_windows, split_list
from sppdet.pooling.export import gather_level
from sppdet.pooling.forms import PoolingForm, PoolingMode, to_rows
from sppdet.pooling.operator import channels_last, kernels_of, pool_windows, to_kernel


@dataclass(frozen=True, eq=False)
class PreparedMaps:
    """Maps (B, C, h, w) converted once for many calls of the pooling layer.

    values: float32 or float64 (B, h, w, C), on the device that pools them. device: of the maps and the result. has_nan:
    checked on the CPU only, because the faster kernel there would drop NaN.
    """

    values: Tensor
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    has_nan: bool


class SpatialPyramidPooling(PoolingForm):
    """Spatial pyramid pooling of feature maps, whole or in windows, over grids of n x n bins for each n in `levels`.

    Bin i of n over w cells is floor(i w / n) to ceil((i + 1) w / n), as in `adaptive_max_pool2d`: bins may overlap, are
    never empty and cover every cell of a map of any size. The output is float (N, D), D = C * sum(n^2), laid out as in
    `PoolingForm`.

    >>> pool = SpatialPyramidPooling((4, 2, 1))
    >>> pool.out_features(256)
    5376
    >>> pool(torch.zeros(8, 256, 13, 17)).shape  # a batch of one size
    torch.Size([8, 5376])
    >>> pool([torch.zeros(256, 13, 17), torch.zeros(256, 3, 40)]).shape  # mixed sizes
    torch.Size([2, 5376])
    >>> windows = torch.tensor([[0, 0, 17, 13], [2, 3, 9, 7], [16, 12, 17, 13]])
    >>> pool(torch.zeros(1, 256, 13, 17), windows).shape  # regions of one map
    torch.Size([3, 5376])

    A classifier with this layer takes images of any size, and `torch.onnx.export` keeps their height and width dynamic:

    >>> from torch import nn
    >>> convolutions = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    >>> classifier = nn.Sequential(convolutions, pool, nn.Linear(pool.out_features(8), 20))
    >>> classifier(torch.rand(2, 3, 60, 90)).shape, classifier(torch.rand(1, 3, 17, 5)).shape
    (torch.Size([2, 20]), torch.Size([1, 20]))
    """

    def bins(self, cells: int, n: int) -> list[Sequence[int]]:
        return [range(i * cells // n, -(-(i + 1) * cells // n)) for i in range(n)]

    def prepare_maps(self, maps: Tensor) -> PreparedMaps:
        """Convert maps (B, C, h, w) once for any number of calls without gradients."""
        check_maps(maps)
        maps = maps.detach()
        values = channels_last(to_kernel(maps))
        has_nan = values.device.type == "cpu" and bool(values.amax().isnan())
        return PreparedMaps(values, maps.shape, maps.dtype, maps.device, has_nan)

    def forward(
        self,
        maps: Tensor | Sequence[Tensor] | PreparedMaps,
        windows: Tensor | None = None,
        index: Tensor | None = None,
        out: Tensor | None = None,
        start: int | None = None,
    ) -> Tensor:
        """Pool maps (B, C, h, w) to (B, D), or windows int64 (N, 4) of them to (N, D).

        maps: a tensor, the result of `prepare_maps`, or a list of maps (C, h, w) of different sizes, pooled whole.
        windows: x1 y1 x2 y2 in cells, half-open, at least one cell, inside the map. index: int64 (N,), the map of each
        window; required for several maps. out: float32 (N, D) to write to, without gradients; wider if
        its columns from `start` are meant. It is returned.
        Raises InputError for a map without cells, an invalid window, or an index without windows.
        """
        whole = windows is None and index is None and out is None
        exporting = torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
        if (exporting or not isinstance(maps, Tensor | PreparedMaps)) and not whole:
            raise InputError("of a list or an exported network are pooled whole", field="maps", got="windows or out")
        if not isinstance(maps, Tensor | PreparedMaps):
            return torch.cat([self(one) for one in split_list(maps)])
        needs_gradient = isinstance(maps, Tensor) and maps.requires_grad and torch.is_grad_enabled()
        by_torch = exporting or (needs_gradient and self.mode == "max")  # torch's gradient of whole maps is faster
        if whole and isinstance(maps, Tensor) and (by_torch or maps.device.type != "cpu"):
            check_maps(maps)
            pool = gather_level if exporting else _adaptive
            return torch.cat([to_rows(pool(maps, n, self.mode)) for n in self.levels], dim=1)
        if isinstance(maps, Tensor) and not torch.compiler.is_compiling():
            if needs_gradient:
                check_maps(maps)
            else:
                maps = self.prepare_maps(maps)
        batch, _, height, width = maps.shape
        if windows is None:
            if index is not None:
                raise InputError("of no windows", field="index", expected="windows, or no index")
            windows = torch.tensor([[0, 0, width, height]]).expand(batch, 4)
            index = torch.arange(batch)
        else:
            index = check_regions(windows, "windows", torch.int64, index, batch)
        windows, index = windows.cpu().contiguous(), index.cpu()
        if isinstance(maps, PreparedMaps):
            check_windows(windows, index, batch, height, width)
            return self._pool(maps, windows, index, out, start)
        if out is not None:
            raise InputError("keeps no gradients", field="out", expected="maps that need none", got="maps that do")
        pooled, _ = pool_windows(to_kernel(maps), windows, index, list(self.levels), self.mode)
        return pooled.to(maps.device)

    def _pool(
        self, maps: PreparedMaps, windows: Tensor, index: Tensor, out: Tensor | None, start: int | None
    ) -> Tensor:
        values, rows, length = maps.values, len(windows), self.out_features(maps.shape[1])
        place = None if out is None else check_out(out, start, rows, length)
        fits = out is not None and (out.dtype, out.device) == (values.dtype, values.device) and out.is_contiguous()
        target, column = (out, start or 0) if out is not None and fits else (values.new_empty(rows, length), 0)
        bins = rows, self.out_features(1), maps.shape[1]
        argmax = target.new_empty(bins, dtype=torch.int32) if maps.has_nan else None
        kernels_of(target.device).forward(values, index, windows, self.levels, self.mode, target, column, argmax)
        if out is None or place is None:
            return target.to(maps.device, maps.dtype)
        if not fits:
            place.copy_(target)
        return out


def _adaptive(maps: Tensor, n: int, mode: PoolingMode) -> Tensor:
    """Pool whole maps (..., h, w) to (..., n, n) by torch's adaptive pooling."""
    return F.adaptive_max_pool2d(maps, n) if mode == "max" else F.adaptive_avg_pool2d(maps, n)
