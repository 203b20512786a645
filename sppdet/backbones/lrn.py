"""Local response normalization as in Caffe: x / (1 + alpha * m)^beta, m the mean of the squares around x.

Networks trained with Caffe see pixels of 0 to 255, so the squares of their maps exceed the range of half precision:
both layers compute in single precision.
"""

from torch import Tensor, nn


class AcrossChannelsNorm(nn.LocalResponseNorm):
    """Normalization by the mean m over `size` neighboring channels of one cell of maps (B, C, h, w).

    Channels beyond the first and last count as 0. In Krizhevsky et al. 2012, section 3.3, alpha is ours divided by the
    size.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.float()).to(maps.dtype)


class WithinChannelNorm(nn.Module):
    """Normalization by the mean m over `size` x `size` cells of one channel of maps (B, C, h, w), 0 beyond the edge."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta
        self.neighbors = nn.AvgPool2d(size, stride=1, padding=size // 2)

    def forward(self, maps: Tensor) -> Tensor:
        wide = maps.float()
        means = self.neighbors(wide.square())
        return (wide * means.mul_(self.alpha).add_(1).pow_(-self.beta)).to(maps.dtype)
