"""Maps of the middle and of the end of a network, joined cell by cell."""

import torch
from torch import Tensor, nn


class Hypercolumn(nn.Module):
    """Maps (B, C, h, w), followed by deeper maps (B, C', h', w') of the same images, interpolated to the same cells
    (Hariharan et al. 2015): C + C' channels.

    stride, center: place of the deeper cells, in cells of the first maps: that of cell j is stride * j + center.
    """

    def __init__(self, stride: float, center: float) -> None:
        super().__init__()
        self.stride, self.center = stride, center

    def forward(self, maps: Tensor, deep: Tensor) -> Tensor:
        deep = deep.permute(0, 2, 3, 1)  # the channels of a cell are moved at once
        for axis in (1, 2):
            deep = self._interpolate(deep, axis, maps.shape[axis + 1])
        return torch.cat([maps, deep.permute(0, 3, 1, 2)], dim=1)

    def _interpolate(self, deep: Tensor, axis: int, cells: int) -> Tensor:
        """Interpolate (B, h, w, C) linearly along an axis; cells beyond the first and last repeat these."""
        last = deep.shape[axis] - 1
        place = ((torch.arange(cells, device=deep.device) - self.center) / self.stride).clamp(0, last)
        before = place.long()
        weight = (place - before).to(deep.dtype).view(-1, *[1] * (3 - axis))
        after = (before + 1).clamp(max=last)
        return torch.lerp(deep.index_select(axis, before), deep.index_select(axis, after), weight)
