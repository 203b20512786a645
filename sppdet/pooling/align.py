"""RoI Align (He et al. 2017, Mask R-CNN, section 3): a grid of bins on a region that is not rounded to cells."""

from __future__ import annotations

from torch import Tensor, nn

from sppdet.errors import ConfigError


class RoIAlign(nn.Module):
    """Pools regions over a grid of n x n bins, each the mean of samples interpolated between the cells' centres.

    In the place of `SpatialPyramidPooling`, whose layout the output has: float32 (N, C * n^2), bin after bin in
    row-major order, the C channels of a bin together.
    """

    def __init__(self, size: int = 6, samples: int = 2) -> None:
        super().__init__()
        for field, value in {"size": size, "samples": samples}.items():
            if value < 1:
                raise ConfigError("out of range", field=field, expected="at least 1", got=value)
        self.size, self.samples = size, samples

    def out_features(self, channels: int) -> int:
        """Length of the vector that maps of so many channels give."""
        return channels * self.size**2

    def lay_out(self, maps: Tensor) -> Tensor:
        """Maps (1, C, h, w) for any number of calls without gradients."""
        return maps.detach().contiguous()

    def forward(self, maps: Tensor, windows: Tensor, out: Tensor | None = None) -> Tensor:
        """Regions float32 (N, 4), x1 y1 x2 y2 in cells, of which cell j covers [j, j + 1), of a map (1, C, h, w).

        out: float32 (N, D) to write into. What lies more than half a cell off the map counts as 0.
        """
        from torchvision.ops import roi_align

        found = roi_align(
            maps, [windows.to(maps)], self.size, sampling_ratio=self.samples, aligned=True
        )  # (N, C, n, n)
        rows = found.permute(0, 2, 3, 1)
        if out is None:
            return rows.flatten(1)
        out.view(rows.shape).copy_(rows)
        return out

    def extra_repr(self) -> str:
        return f"size={self.size}, samples={self.samples}"
