"""SPPnet's features: one pass of the network over the whole image, regions pooled from its maps (section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from sppdet.backbones.backbone import check_maps, is_too_small
from sppdet.backbones.geometry import Geometry
from sppdet.config.detector import SPPConfig
from sppdet.errors import ConfigError
from sppdet.features.extractor import FeatureExtractor, ImageFeatures, PooledRegion
from sppdet.images import resize_shorter_side, shorter_side_size
from sppdet.pooling.pyramid import PreparedMaps
from sppdet.pooling.windows import boxes_to_cells, boxes_to_windows, choose_scales, first_cell
from sppdet.runtime.stopwatch import count_windows, stage


class SPPExtractor(FeatureExtractor):
    """SPPnet: one pass of the network over the whole image at each scale, regions pooled from conv5 (section 4.1).

    With a pyramid of one level and the window rule "round" it is Fast R-CNN's RoI pooling.
    """

    per_region = False
    window_type = torch.int64
    config: SPPConfig

    def encode(self, image: Tensor) -> MapFeatures:
        """Compute the maps of an image uint8 (3, H, W) at each scale."""
        maps = self.compute_maps(image)
        with stage("pooling"):
            return self.from_maps(maps, (image.shape[1], image.shape[2]))

    def compute_maps(self, image: Tensor) -> list[list[Tensor]]:
        """Compute the network's maps of an image uint8 (3, H, W) at each scale, plain tensors float16 (C, h, w)."""
        maps = []
        for side in self.config.scales:
            with stage("preprocess"):
                pixels = self.backbone.normalize(resize_shorter_side(image, side)[None])
            with stage("conv"), torch.inference_mode():
                maps.append(self._run(pixels, side))
        with stage("pooling"):
            # Rounded to half precision even when not cached, so that cold and warm runs agree.
            return [[one[0].half() for one in several] for several in maps]

    def _run(self, pixels: Tensor, side: int) -> tuple[Tensor, ...]:
        """Compute the maps (1, C, h, w) of a normalized image at a scale. Raises ConfigError if it is too small."""
        try:
            return self.backbone(pixels)
        except RuntimeError as error:
            if not is_too_small(error):
                raise
            raise ConfigError(f"too small for {self.backbone.name}", field="spp.scales", got=side) from error

    def from_maps(self, maps: list[list[Tensor]], size: tuple[int, int]) -> MapFeatures:
        """Build the result of `encode` for an image of `size` (H, W) from the result of `compute_maps`."""
        device = self.backbone.device
        exact = [[one[None].to(device).float() for one in several] for several in maps]
        check_maps(chain.from_iterable(exact))
        return MapFeatures(self, tuple(self.pooling.prepare_maps(several) for several in exact), size)

    def store(self, image: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Compute the maps, which do not depend on the boxes or the pyramid."""
        del boxes
        return dict(zip(self._names(), chain.from_iterable(self.compute_maps(image)), strict=True))

    def restore(self, stored: Mapping[str, Tensor], size: tuple[int, int], boxes: Tensor) -> MapFeatures:
        del boxes
        several = len(self.pooling)
        maps = [stored[name] for name in self._names()]
        return self.from_maps([maps[k : k + several] for k in range(0, len(maps), several)], size)

    def _names(self) -> list[str]:
        """Return the names of stored maps: those of the first scale, then those of the next."""
        return [f"scale{k}.map{m}" for k in range(len(self.config.scales)) for m in range(len(self.pooling))]

    def cache_key(self) -> tuple[object, ...]:
        return "maps by scale", self.network_key(), self.config.scales

    def describe(self) -> dict[str, Any]:
        return {"levels": [list(form.levels) for form in self.pooling.forms], "scales": list(self.config.scales)}

    def pool(self, image: Tensor, boxes: Tensor, scale_position: float) -> Tensor:
        index = int(scale_position * len(self.config.scales))
        side = self.config.scales[index]
        pixels = self.backbone.normalize(resize_shorter_side(image, side)[None])
        maps = [one.float() for one in self._run(pixels, side)]
        return self.pooling(maps, self.windows(boxes, index, (image.shape[1], image.shape[2]), maps))

    def windows(
        self, boxes: Tensor, index: int, size: tuple[int, int], maps: Sequence[Tensor | PreparedMaps]
    ) -> Tensor:
        """Find the windows int64 (N, M, 4) of boxes in an image of `size` (H, W) on each of M maps at a scale."""
        ratios, places = self.ratios(index, size), zip(self.backbone.geometries, maps, strict=True)
        return torch.stack([self.find_windows(boxes, ratios, place, one.shape[2:]) for place, one in places], dim=1)

    def find_windows(
        self, boxes: Tensor, ratios: tuple[float, float] | Tensor, geometry: Geometry, size: torch.Size
    ) -> Tensor:
        """Find the windows int64 (N, 4) of boxes on a map of `size` (h, w)."""
        return boxes_to_windows(boxes, ratios, geometry, (size[0], size[1]), self.config.window_rule)

    def ratios(self, index: int, size: tuple[int, int]) -> tuple[float, float]:
        """Return the (x, y) ratios of the resized image, whose size is rounded, to the original."""
        height, width = shorter_side_size(*size, self.config.scales[index])
        return width / size[1], height / size[0]


class RoIAlignExtractor(SPPExtractor):
    """SPPExtractor with regions that are not rounded to cells (RoI Align): windows are float32."""

    window_type = torch.float32

    def find_windows(
        self, boxes: Tensor, ratios: tuple[float, float] | Tensor, geometry: Geometry, size: torch.Size
    ) -> Tensor:
        """Convert boxes to cells, without rounding; a region may reach over the edge of its map."""
        del size
        return boxes_to_cells(boxes, ratios, geometry)


@dataclass(frozen=True, eq=False)
class MapFeatures(ImageFeatures):
    """Maps (1, C, h, w) of an image of `size` (H, W), those of the network at each scale, laid out for pooling."""

    extractor: SPPExtractor
    maps: tuple[tuple[PreparedMaps | Tensor, ...], ...]
    size: tuple[int, int]

    def features(self, boxes: Tensor) -> Tensor:
        """Compute features float32 (N, D), each box pooled at the scale that suits its size."""
        if self.extractor.layers is None:  # pooled in place
            return self._pool(boxes, self.extractor.empty(len(boxes)))
        return super().features(boxes)

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        rows = self.extractor.chunk_rows(self.extractor.pooled_dimension)
        memory = self.extractor.empty(min(rows, len(boxes)))
        for part in boxes.split(rows):
            yield self.extractor.apply_layers(self._pool(part, memory[: len(part)]))

    def pool_region(self, box: Tensor) -> PooledRegion:
        extractor = self.extractor
        scales, windows = self._assign_windows(box[None].to(extractor.backbone.device))
        index = int(scales)
        maps = tuple(_plain(one).detach().requires_grad_() for one in self.maps[index])
        ratios = extractor.ratios(index, self.size)
        cells = [first_cell(geometry, ratios) for geometry in extractor.backbone.geometries]
        pooled = extractor.pooling(maps, windows, constant_lengths=True)
        return PooledRegion(maps, windows[0].tolist(), cells, pooled)

    def unique_windows(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes that fall on the same cells at the same scale share their features."""
        with stage("pooling"):
            scales, windows = self._assign_windows(boxes)
            count, inverse = _unique_rows(torch.cat([scales[:, None], windows.flatten(1)], dim=1))
            every = torch.arange(len(boxes), device=boxes.device)
            first = every.new_zeros(count).scatter_reduce(0, inverse, every, "amin", include_self=False)
        count_windows(len(boxes), len(first))
        return first, inverse

    def _pool(self, boxes: Tensor, out: Tensor) -> Tensor:
        with stage("pooling"), torch.inference_mode():
            scales, windows = self._assign_windows(boxes)
            if len(self.maps) == 1:
                return self.extractor.pooling(self.maps[0], windows, out=out)
            for index in scales.unique().tolist():
                rows = (scales == index).nonzero().squeeze(1)
                out[rows] = self.extractor.pooling(self.maps[index], windows[rows])
            return out

    def _assign_windows(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scale's index (N,) and the windows there (N, M, 4) of each box."""
        extractor, config = self.extractor, self.extractor.config
        scales = choose_scales(boxes, min(self.size), config.scales, config.scale_rule)
        shape = len(boxes), len(extractor.pooling), 4
        windows = torch.zeros(shape, dtype=extractor.window_type, device=boxes.device)
        for index, maps in enumerate(self.maps):
            rows = (scales == index).nonzero().squeeze(1)
            windows[rows] = extractor.windows(boxes[rows], index, self.size, maps)
        return scales, windows


def _plain(maps: PreparedMaps | Tensor) -> Tensor:
    """Return maps as they were before they were laid out for pooling."""
    return maps.values.permute(0, 3, 1, 2).to(maps.device) if isinstance(maps, PreparedMaps) else maps


def _unique_rows(rows: Tensor) -> tuple[int, Tensor]:
    """Return the number of distinct rows, and the position of each row (N,) among them in ascending order.

    Whole numbers of 0 and more are joined to one per row, if it is not too large, which is sorted 20 times as fast.
    """
    ends = [] if rows.is_floating_point() or not len(rows) else (rows.amax(dim=0) + 1).tolist()
    if ends and math.prod(ends) < 2**63:
        key = rows[:, 0]
        for column, end in zip(rows.T[1:], ends[1:], strict=True):
            key = key * end + column
        distinct, inverse = key.unique(return_inverse=True)
    else:
        distinct, inverse = rows.unique(dim=0, return_inverse=True)
    return len(distinct), inverse
