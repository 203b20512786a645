"""From boxes in the image to windows of feature-map cells (SPPnet, appendix A).

Cell j of a map is centered at stride * j + center + 1/2 in the continuous coordinates of the resized image, in which
pixel i covers [i, i + 1). Every rule measures the half-open edges of a box from the center of cell 0, and replaces an
empty window by the cell at its truncated mean.
"""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor

from sppdet.backbones.geometry import Geometry
from sppdet.config.detector import ScaleRule, WindowRule

# The authors' code shrinks a box by this many pixels at stride 16 before it looks for cells.
CODE_SHRINK = 6.5
# Training size of the network, and the side the authors' code aims at instead, in pixels.
PAPER_SIDE, CODE_SIDE = 224, 208


def boxes_to_windows(
    boxes: Tensor,
    scale: tuple[float, float] | Tensor,
    geometry: Geometry,
    map_size: tuple[int, int],
    rule: WindowRule = "paper",
) -> Tensor:
    """Return the windows int64 (N, 4), x1 y1 x2 y2 in cells, half-open, of boxes float32 (N, 4) in original pixels.

    scale: (x, y) ratios of the resized to the original image. map_size: (h, w) in cells. Windows are inside the map
    and have at least one cell. With u the distance of a box's edge from the center of cell 0, in strides, the rules are

    paper: floor(u) + 1 to ceil(u) - 1, the cells with their center strictly inside the box.
    code: floor(u + 6.5 / 16 + 1/2) to ceil(u - 6.5 / 16 - 1/2), the authors' rounding: the cells with their center
        inside the box or less than 1.5 / 16 of a stride outside. The authors apply it to the middles of the box's
        border pixels, half a pixel further in. At scale 1 this makes no difference to boxes of whole pixels; at other
        scales a window may differ by a cell.
    round: round(u) to round(u), inclusive, halves away from zero, as in Fast R-CNN. Its authors divide the edge itself
        by the stride, as if cell 0 had its center at pixel 0; for other networks windows may differ by a cell.

    >>> geometry = Geometry(stride=16, center=0.0, receptive_field=163)
    >>> boxes_to_windows(torch.tensor([[20.0, 30, 90, 60], [3, 3, 5, 5]]), (2.0, 2.0), geometry, (20, 30))
    tensor([[ 3,  4, 12,  8],
            [ 0,  0,  1,  1]])
    """
    edges = _edges(boxes, scale, geometry)
    start, end = edges[:, :2], edges[:, 2:]
    if rule == "paper":
        first, last = start.floor() + 1, end.ceil() - 1
    elif rule == "code":
        shrink = CODE_SHRINK / 16
        first, last = (start + shrink + 0.5).floor(), (end - shrink - 0.5).ceil()
    elif rule == "round":
        first, last = (torch.sign(u) * (u.abs() + 0.5).floor() for u in (start, end))
    else:
        assert_never(rule)
    middle = ((first + last) / 2).trunc()
    empty = first > last
    first, last = torch.where(empty, middle, first), torch.where(empty, middle, last)
    limit = doubles((map_size[1] - 1, map_size[0] - 1), boxes.device)
    first, last = (torch.minimum(cell.clamp(min=0), limit) for cell in (first, last))
    return torch.cat([first, last + 1], dim=1).long()


def boxes_to_cells(boxes: Tensor, scale: tuple[float, float] | Tensor, geometry: Geometry) -> Tensor:
    """Convert boxes float32 (N, 4) from pixels of the original image to cells, without rounding.

    Cell j covers [j, j + 1), as pixels do. scale: (x, y) ratios of the resized to the original image.
    """
    return (_edges(boxes, scale, geometry) + 0.5).float()


def doubles(numbers: Sequence[float], device: torch.device) -> Tensor:
    """Return numbers as float64 (n,). In a graph that is exported, sizes among them stay free."""
    return torch.stack([torch.full((), number, dtype=torch.float64, device=device) for number in numbers])


def first_cell(
    geometry: Geometry, scale: tuple[float, float], origin: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float, float, float]:
    """Return the place of cell (0, 0), x1 y1 x2 y2 in pixels of the original image. The others follow without a gap.

    scale: (x, y) ratios of the resized to the original image. origin: the pixel (x, y) where the resized part begins.

    >>> first_cell(Geometry(stride=16, center=8.0, receptive_field=163), (2.0, 2.0))
    (0.25, 0.25, 8.25, 8.25)
    """
    start, stride = geometry.center + 0.5 - geometry.stride / 2, geometry.stride
    (x, y), (across, down) = origin, scale
    return x + start / across, y + start / down, x + (start + stride) / across, y + (start + stride) / down


def _edges(boxes: Tensor, scale: tuple[float, float] | Tensor, geometry: Geometry) -> Tensor:
    """Return the distances float64 (N, 4) of the boxes' edges from the center of cell 0, in strides."""
    ratio = torch.as_tensor(scale, dtype=torch.float64, device=boxes.device).repeat(2)
    return (boxes.double() * ratio - (geometry.center + 0.5)) / geometry.stride


def choose_scales(boxes: Tensor, shorter_side: int, scales: tuple[int, ...], rule: ScaleRule = "paper") -> Tensor:
    """Return the index int64 (N,) into `scales` of the scale at which each box is pooled (SPPnet, section 4.1).

    boxes: (N, 4) in pixels of the original image. shorter_side: of that image, in pixels.
    paper: the scale at which the box's area is closest to 224 x 224. code: the scale closest to
    208 * shorter_side / sqrt(area). Ties go to the first scale.

    >>> choose_scales(torch.tensor([[0.0, 0, 60, 60], [0, 0, 200, 150]]), 375, (480, 576, 688, 864, 1200))
    tensor([4, 0])
    """
    sides = torch.tensor(scales, dtype=torch.float64, device=boxes.device)
    size = (boxes[:, 2:] - boxes[:, :2]).double()
    area = size.prod(dim=1).clamp(min=1e-9)[:, None]  # (N, 1)
    if rule == "paper":
        distance = (area * (sides / shorter_side) ** 2 - PAPER_SIDE**2).abs()  # (N, S)
    else:
        distance = (sides - CODE_SIDE * shorter_side / area.sqrt()).abs()
    return distance.argmin(dim=1)
