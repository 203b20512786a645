"""The forms of pooling in use for a fixed number of bins, as layers.

A level of n bins per side divides each axis of a map into n bins; a bin of the level is a set of rows times a set of
columns. The forms differ in the cells of the axis that each bin reads, which `bins` returns. Here 14 cells, 4 bins:

>>> from sppdet.pooling.pyramid import SpatialPyramidPooling
>>> SpatialPyramidPooling((4,)).bins(14, 4)
[range(0, 4), range(3, 7), range(7, 11), range(10, 14)]
>>> PaddedPooling((4,)).bins(14, 4)
[range(-1, 3), range(3, 7), range(7, 11), range(11, 15)]
>>> WindowPooling((4,)).bins(14, 4)
[range(0, 4), range(3, 7), range(6, 10), range(9, 13)]

The last form never reads cell 13. `coverage` counts the bins per cell, and `sppdet explain pooling` draws them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.errors import ConfigError, InputError
from sppdet.pooling.checks import check_maps, split_list

PoolingMode = Literal["max", "average"]


class PoolingForm(nn.Module, ABC):
    """Base of all forms: levels, a mode, and the layout of the output vector.

    The vector is float (D,), D = C * sum(n^2): levels in the order given, the bins of a level in row-major order, the C
    channels of a bin together.
    """

    def __init__(self, levels: tuple[int, ...] = (6, 3, 2, 1), mode: PoolingMode = "max") -> None:
        super().__init__()
        if not isinstance(levels, Sequence) or not levels or any(not isinstance(n, int) or n < 1 for n in levels):
            raise ConfigError("not a pyramid", field="levels", expected="positive whole numbers", got=levels)
        if mode not in ("max", "average"):
            raise ConfigError("unknown pooling mode", field="mode", expected="max or average", got=mode)
        self.levels, self.mode = tuple(levels), mode

    def out_features(self, channels: int) -> int:
        """Return the length of the vector for maps of `channels` channels."""
        return channels * sum(n * n for n in self.levels)

    @abstractmethod
    def bins(self, cells: int, n: int) -> list[Sequence[int]]:
        """Return the cells that each bin of level n reads along an axis of `cells` cells.

        Cells off the axis are padding. The number of bins is that of the form's output, which need not be n.
        """

    def why_not(self, size: tuple[int, int], n: int) -> str | None:
        """Return the reason why the form has no level n on a map of `size` (h, w); None if it has one."""
        del size, n
        return None

    def coverage(self, size: tuple[int, int], n: int) -> Tensor:
        """Return the number of bins of level n that read each cell of a map of `size` (h, w): int64 (h, w)."""
        rows, columns = (count_readers(self.bins(cells, n), cells) for cells in size)
        return rows[:, None] * columns

    def extra_repr(self) -> str:
        return f"levels={self.levels}, mode={self.mode}"


class Window1d(NamedTuple):
    """A window that slides along an axis, with the parameters of torch's `max_pool2d`."""

    kernel: int
    stride: int
    padding: int = 0
    ceil_mode: bool = False

    def count(self, cells: int) -> int:
        """Return floor or ceil of (cells + 2 padding - kernel) / stride, plus 1; none starts in the far padding."""
        if self.stride < 1:
            return 0
        room = cells + 2 * self.padding - self.kernel
        if self.ceil_mode:
            room = min(-(-room // self.stride) * self.stride, cells + self.padding - 1)
        return max(room // self.stride + 1, 0)

    def why_not(self, cells: int, n: int) -> str | None:
        """Return the reason why the window does not give n bins of `cells` cells; None if it does."""
        if self.stride < 1:
            return "fewer cells than bins make the stride 0"
        if self.padding > self.kernel // 2:
            return f"a padding of {self.padding} is more than half the window of {self.kernel}"
        got = self.count(cells)
        return None if got == n else f"windows of {self.kernel} every {self.stride} give {got} bins"


class SlidingPooling(PoolingForm):
    """A form with a sliding window: `max_pool2d` or `avg_pool2d` with parameters that follow from the map's size.

    Averages are over the cells of the map in a window, without the padding.
    """

    @abstractmethod
    def slide(self, cells: int, n: int) -> Window1d:
        """Return the window of level n along an axis of `cells` cells."""

    def bins(self, cells: int, n: int) -> list[Sequence[int]]:
        slide = self.slide(cells, n)
        starts = (i * slide.stride - slide.padding for i in range(slide.count(cells)))
        return [range(start, start + slide.kernel) for start in starts]

    def why_not(self, size: tuple[int, int], n: int) -> str | None:
        for cells in size:
            reason = self.slide(cells, n).why_not(cells, n)
            if reason:
                return f"no level {n} on {size[0]}x{size[1]} cells: along {cells}, {reason}"
        return None

    def forward(self, maps: Tensor | Sequence[Tensor]) -> Tensor:
        """Pool maps (B, C, h, w), or a list of (C, h, w) of mixed sizes, to (B, D).

        Raises InputError for maps without cells, and if a level has another number of bins than n (see `why_not`).
        """
        if not isinstance(maps, Tensor):
            return torch.cat([self(one) for one in split_list(maps)])
        check_maps(maps)
        return torch.cat([to_rows(self._pool_level(maps, n)) for n in self.levels], dim=1)

    def _pool_level(self, maps: Tensor, n: int) -> Tensor:
        size = maps.shape[2], maps.shape[3]
        reason = self.why_not(size, n)
        if reason:
            raise InputError(reason, field="maps")
        kernel, stride, padding, (ceil_mode, _) = zip(*(self.slide(cells, n) for cells in size), strict=True)
        if self.mode == "max":
            return F.max_pool2d(maps, kernel, stride, padding, ceil_mode=ceil_mode)
        return F.avg_pool2d(maps, kernel, stride, padding, ceil_mode, count_include_pad=False)


class WindowPooling(SlidingPooling):
    """Windows of ceil(a / n) cells every floor(a / n) cells of an axis of a cells, as in the paper's training.

    Equal to the exact form if a mod n is 0 or 1: at 13 cells for 6, 3, 2 and 1 bins. If a mod n is larger, the last
    a mod n - 1 rows and columns are never read, and with `ceil_mode` there are too many bins. If it is larger than
    floor(a / n), as for every a < n, the number of bins is wrong in either mode, and the layer raises InputError.

    >>> pool = WindowPooling((4, 2, 1))
    >>> pool(torch.zeros(8, 256, 13, 16)).shape == (8, pool.out_features(256))
    True
    >>> pool.coverage((14, 13), 4)[-2:]  # the last row of 14 is in no bin, the last of 13 columns is
    tensor([[1, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    >>> pool(torch.zeros(1, 256, 13, 11))
    Traceback (most recent call last):
    sppdet.errors.InputError: maps: no level 4 on 13x11 cells: along 11, windows of 3 every 2 give 5 bins
    """

    def __init__(
        self, levels: tuple[int, ...] = (6, 3, 2, 1), mode: PoolingMode = "max", ceil_mode: bool = False
    ) -> None:
        super().__init__(levels, mode)
        self.ceil_mode = ceil_mode

    def slide(self, cells: int, n: int) -> Window1d:
        return Window1d(-(-cells // n), cells // n, ceil_mode=self.ceil_mode)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ceil_mode={self.ceil_mode}"


class PaddedPooling(SlidingPooling):
    """Adjacent windows of k = ceil(a / n) cells on a map padded by floor((k n - a + 1) / 2), as in tutorials.

    Every cell is in one bin; bins at the edges are smaller. Equal to the exact form only if n divides a. torch refuses
    a padding of more than half a window: 6 bins of 1 to 5, 7, 8, 9, 13, 14, 15, 19 and 25 cells; 4 of 1, 2, 3, 5 and
    9; 3 of 1 and 2; 2 of 1.

    >>> PaddedPooling((4, 2, 1))(torch.zeros(1, 256, 13, 9))
    Traceback (most recent call last):
    sppdet.errors.InputError: maps: no level 4 on 13x9 cells: along 9, a padding of 2 is more than half the window of 3
    """

    def slide(self, cells: int, n: int) -> Window1d:
        kernel = -(-cells // n)
        return Window1d(kernel, kernel, (kernel * n - cells + 1) // 2)


class GeneralPooling(SlidingPooling):
    """One level with a given kernel and stride: floor((a + 2 padding - kernel) / stride) + 1 bins of a cells.

    With a kernel longer than the stride, pooling overlaps, as with AlexNet's 3 and 2; with a shorter one, cells between
    the windows are left out. It works at few sizes: the number of bins grows with the map, and the layer raises
    InputError unless there are `level` bins per side, as the following layers need.

    >>> pool5 = GeneralPooling(level=6, kernel=3, stride=2)  # AlexNet's
    >>> maps = torch.arange(169.0).view(1, 1, 13, 13)
    >>> torch.equal(pool5(maps), WindowPooling((6,))(maps))
    True
    """

    def __init__(
        self, level: int, kernel: int, stride: int, padding: int = 0, ceil_mode: bool = False, mode: PoolingMode = "max"
    ) -> None:
        super().__init__((level,), mode)
        if kernel < 1 or stride < 1 or not 0 <= padding <= kernel // 2:
            expected = "kernel and stride of at least 1, padding of at most half a kernel"
            got = f"kernel {kernel}, stride {stride}, padding {padding}"
            raise ConfigError("no such window", field="kernel", expected=expected, got=got)
        self.window = Window1d(kernel, stride, padding, ceil_mode)

    def slide(self, cells: int, n: int) -> Window1d:
        del cells, n
        return self.window

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.window}"


def count_readers(bins: Sequence[Sequence[int]], cells: int) -> Tensor:
    """Return the number of bins that read each cell of an axis: int64 (cells,)."""
    return torch.tensor([sum(cell in each for each in bins) for cell in range(cells)])


def to_single(values: Tensor) -> Tensor:
    """Convert half precision to float32; float32 and float64 are returned unchanged."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def to_rows(level: Tensor) -> Tensor:
    """Convert a level (B, C, n, n) to its part of the vectors, (B, n * n * C)."""
    return level.permute(0, 2, 3, 1).flatten(1)
