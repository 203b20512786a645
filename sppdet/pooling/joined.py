"""Pooling of the same regions from each map of a network, joined to one vector."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sppdet.pooling.checks import check_out
from sppdet.pooling.forms import PoolingMode
from sppdet.pooling.pyramid import PreparedMaps, SpatialPyramidPooling
from sppdet.pooling.roi import RoILayer

MapPooling = SpatialPyramidPooling | RoILayer


class JoinedPooling(nn.ModuleList):
    """A form of pooling for each map of a network, in the order of the maps; a region's vectors are joined.

    With several maps this is skip pooling (Bell et al. 2016, section 3.1). channels: of each map. lengths: of each
    map's vector. dimension: D, their sum. unit_length: the vector of each map is scaled to an L2 norm of 1.
    """

    def __init__(self, forms: Sequence[MapPooling], channels: Sequence[int], unit_length: bool = False) -> None:
        super().__init__(forms)
        self.forms, self.unit_length = tuple(forms), unit_length
        self.lengths = [form.out_features(each) for form, each in zip(forms, channels, strict=True)]
        self.dimension = sum(self.lengths)

    def prepare_maps(self, maps: Sequence[Tensor]) -> tuple[PreparedMaps | Tensor, ...]:
        """Convert maps (B, C, h, w), one of each kind, once for any number of calls without gradients."""
        return tuple(form.prepare_maps(each) for form, each in zip(self.forms, maps, strict=True))

    def forward(
        self,
        maps: Sequence[Tensor | PreparedMaps],
        regions: Tensor | None = None,
        index: Tensor | None = None,
        out: Tensor | None = None,
        constant_lengths: bool = False,
    ) -> Tensor:
        """Pool maps (B, C, h, w), one of each kind, whole to (B, D), or N regions of them to (N, D).

        regions: (N, M, 4), a window or box, as its form takes them, on each of the M maps. index: int64 (N,), the image
        of each region; required for several images. out: float32 (N, D) to write regions to, without gradients.
        constant_lengths: gradients take the lengths of the vectors as constants.
        Raises InputError like the forms.
        """
        if regions is None:
            return self.join([form(each) for form, each in zip(self.forms, maps, strict=True)], constant_lengths)
        given = zip(self.forms, maps, regions.unbind(1), strict=True)
        if out is None:
            return self.join([form(each, places, index) for form, each, places in given], constant_lengths)
        check_out(out, None, len(regions), self.dimension)
        start = 0
        for (form, each, places), length in zip(given, self.lengths, strict=True):
            form(each, places, index, out=out, start=start)
            if self.unit_length:
                part = out[:, start : start + length]
                part.copy_(_scale(part.float(), constant_lengths))
            start += length
        return out

    def join(self, parts: list[Tensor], constant_lengths: bool = False) -> Tensor:
        """Join the vectors (N, D) of the forms."""
        if self.unit_length:
            parts = [_scale(each.float(), constant_lengths).to(each.dtype) for each in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def join_pyramids(
    levels: Sequence[tuple[int, ...]], mode: PoolingMode, channels: Sequence[int], unit_length: bool = False
) -> JoinedPooling:
    """Build a pyramid for each map, of these levels."""
    return JoinedPooling([SpatialPyramidPooling(each, mode) for each in levels], channels, unit_length)


def _scale(vectors: Tensor, constant_lengths: bool) -> Tensor:
    lengths = (vectors.detach() if constant_lengths else vectors).norm(dim=1, keepdim=True)
    return vectors / lengths.clamp(min=1e-12)
