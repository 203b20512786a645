"""RoI pooling and RoI Align: pooling forms of one level for boxes, computed by torchvision's operators."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sppdet.errors import ConfigError
from sppdet.pooling.checks import check_boxes, check_maps, check_out, check_regions
from sppdet.pooling.forms import PoolingForm, PoolingMode, count_readers, to_rows, to_single

LEAST_WEIGHT = 1e-4  # of a cell in a bin's mean; smaller weights are rounding errors of samples on a cell's center


class RoILayer(PoolingForm):
    """Base of both layers: pools boxes float (N, 4), x1 y1 x2 y2, of maps (B, C, h, w) to vectors (N, C * level^2).

    scale: ratio of cells to the coordinates of the boxes, 1 / stride.
    """

    last: ClassVar[int]  # a box that spans an axis of a cells ends at a - last

    def __init__(self, level: int, scale: float = 1.0, mode: PoolingMode = "max") -> None:
        super().__init__((level,), mode)
        if not 0 < scale < math.inf:
            raise ConfigError("out of range", field="scale", expected="more than 0", got=scale)
        self.scale = scale

    @abstractmethod
    def pool(self, maps: Tensor, rois: Tensor, n: int) -> Tensor:
        """Pool rois (N, 5), which are an index, x1, y1, x2, y2, to (N, C, n, n)."""

    def bins(self, cells: int, n: int, part: tuple[float, float] | None = None) -> list[Sequence[int]]:
        """Return the cells that each bin reads, of a box that spans `part` of an axis, by default the whole axis.

        Measured on the operator itself: channel c of a map one cell wide is 1 in cell c alone.
        """
        start, end = part or (0, (cells - self.last) / self.scale)
        roi = torch.tensor([[0, 0, start, (1 - self.last) / self.scale, end]])
        weights = self.pool(torch.eye(cells).view(1, cells, cells, 1), roi, n)[0, :, :, 0].T  # (n, cells)
        return [row.nonzero().flatten().tolist() for row in weights > LEAST_WEIGHT]

    def coverage(self, size: tuple[int, int], n: int, box: Sequence[float] | None = None) -> Tensor:
        """Return the coverage of the whole map, or of one box x1 y1 x2 y2."""
        x, y = (None, None) if box is None else ((box[0], box[2]), (box[1], box[3]))
        rows = count_readers(self.bins(size[0], n, y), size[0])
        return rows[:, None] * count_readers(self.bins(size[1], n, x), size[1])

    def prepare_maps(self, maps: Tensor) -> Tensor:
        """Convert maps (B, C, h, w) once for any number of calls."""
        return maps.contiguous()

    def forward(
        self,
        maps: Tensor,
        boxes: Tensor,
        index: Tensor | None = None,
        out: Tensor | None = None,
        start: int | None = None,
    ) -> Tensor:
        """Pool boxes (N, 4) of maps (B, C, h, w) to (N, C * level^2).

        index: int64 (N,), the map of each box; required for several maps. out: (N, D) to write to, wider if its columns
        from `start` are meant. It is returned.
        Raises InputError for maps without cells, an index of no map, and boxes that are not finite, have corners in the
        wrong order or reach over 4,096 cells from the map's origin.
        """
        check_maps(maps)
        numbers = isinstance(boxes, Tensor) and boxes.dtype != torch.bool and not boxes.is_complex()
        index = check_regions(boxes, "boxes", boxes.dtype if numbers else torch.float32, index, len(maps))
        boxes, index = boxes.to(maps.device), index.to(maps.device)
        check_boxes(boxes, index, len(maps), self.scale)
        exact = to_single(maps)
        rois = torch.cat([index[:, None].to(exact), boxes.to(exact)], dim=1)
        pooled = to_rows(self.pool(exact, rois, self.levels[0])).to(maps.dtype)
        if out is None:
            return pooled
        check_out(out, start, *pooled.shape).copy_(pooled)
        return out

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"


class RoIPooling(RoILayer):
    """RoI pooling of Fast R-CNN: level x level maxima over cells round(x1 scale) to round(x2 scale), inclusive.

    Bin i of n over w cells is floor(i w / n) to ceil((i + 1) w / n), as in the exact form. On boxes of whole cells and
    for up to 6 bins both forms are equal: a window of `SpatialPyramidPooling` from a to b is a box from a to b - 1.
    For other boxes, rounding moves an edge by up to half a cell (8 pixels at stride 16), and a half-open box grows by a
    cell. The operator divides in single precision and clips to the map, not to the box, so with more bins one may read
    a row too many: the last of 7 of 57 cells.

    >>> pool = RoIPooling(2)
    >>> pool(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.4, 0, 3, 3], [1, 1, 2.6, 2]]))
    tensor([[ 5.,  7., 13., 15.],
            [ 6.,  7., 10., 11.]])
    """

    last = 1

    def pool(self, maps: Tensor, rois: Tensor, n: int) -> Tensor:
        from torchvision.ops import roi_pool

        return roi_pool(maps, rois, n, self.scale)


class RoIAlign(RoILayer):
    """RoI Align of Mask R-CNN: a bin is the mean of samples x samples points, interpolated between four cells.

    Nothing is rounded: of n bins from x1 to x2, point j of bin i is x1 + (i + (j + 1/2) / samples) (x2 - x1) / n, and
    cell c is centered at c + 1/2 (torchvision's `aligned`). Every cell is read if bins are at most 2 * samples cells
    long; in longer bins no point reads some cells. samples=None takes ceil((x2 - x1) / n) samples, which leaves no cell
    out. There is no max mode.

    >>> RoIAlign(1)(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.5, 0.5, 2.5, 2.5]]))  # about the center of 5
    tensor([[5.]])
    >>> RoIAlign(1).bins(10, 1), RoIAlign(1, samples=None).bins(10, 1)
    ([[2, 7]], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
    """

    last = 0

    def __init__(self, level: int, scale: float = 1.0, samples: int | None = 2) -> None:
        super().__init__(level, scale, "average")
        if samples is not None and samples < 1:
            raise ConfigError("out of range", field="samples", expected="at least 1, or none", got=samples)
        self.samples = samples

    def pool(self, maps: Tensor, rois: Tensor, n: int) -> Tensor:
        from torchvision.ops import roi_align

        return roi_align(maps, rois, n, self.scale, self.samples or -1, aligned=True)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, samples={self.samples}"
