"""Local response normalization as Caffe does it: x / (1 + alpha * m)^beta, m the mean of the squares about x.

Networks that Caffe trained see pixels of 0 to 255, so that their maps hold numbers whose squares half precision cannot
hold: both layers work in single precision, whatever the precision of the map.
"""

from __future__ import annotations

from torch import Tensor, nn


class AcrossChannelsNorm(nn.LocalResponseNorm):
    """m is taken over `size` neighboring channels of one cell (Krizhevsky et al. 2012, section 3.3, where alpha is
    ours divided by the size). Maps (B, C, h, w); channels beyond the first and last count as 0."""

    def forward(self, maps: Tensor) -> Tensor:
        normalized: Tensor = super().forward(maps.float())
        return normalized.to(maps.dtype)


class WithinChannelNorm(nn.Module):
    """m is taken over `size` x `size` cells of one channel. Maps (B, C, h, w); cells beyond the edge count as 0."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta
        self.neighbors = nn.AvgPool2d(size, stride=1, padding=size // 2)

    def forward(self, maps: Tensor) -> Tensor:
        wide = maps.float()
        means: Tensor = self.neighbors(wide.square())
        return (wide * means.mul_(self.alpha).add_(1).pow_(-self.beta)).to(maps.dtype)
