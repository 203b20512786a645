"""Where a region's features come from: one pass over the whole image (SPPnet), or one a crop (R-CNN).

Both are used in two steps, which is what makes SPPnet fast: `encode(image)` once, then `.features(boxes)` as often as
wished. For SPPnet the first step holds the network; for R-CNN the second does. Fully connected layers, where a detector
has them, end the second step of both.

The features of 2,000 regions take 200 MB, which is more to move than to compute. Who needs only what a linear layer
makes of them calls `apply`: the features pass through it part by part, in the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.config import CropConfig, DetectorConfig, Precision, SPPConfig
from sppdet.crops import warp_crops
from sppdet.errors import ConfigError, InputError
from sppdet.heads.fully_connected import FullyConnected
from sppdet.images import normalise, resize_shorter_side, shorter_side_size, to_array
from sppdet.pooling.pyramid import LaidOutMaps, SpatialPyramidPooling
from sppdet.pooling.windows import boxes_to_windows, choose_scales
from sppdet.stopwatch import Stopwatch

PART_BYTES = 2**26  # of features that exist at a time while a function is applied to them


class Encoded(Protocol):
    """An image made ready; features of any boxes may be asked for, any number of times.

    Boxes are float32 (N, 4), in pixels of the original image.
    """

    def features(self, boxes: Tensor) -> Tensor:
        """Region features float32 (N, D)."""
        ...

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        """The same in consecutive parts (n, D); each is overwritten by the next."""
        ...

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Which boxes (M,) have features of their own, and for each box (N,) which of them it shares."""
        ...


def apply(encoded: Encoded, boxes: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` of the features of boxes (N, 4), row by row: (n, D) -> (n, ...). Features that several boxes share
    are computed once."""
    first, shared = encoded.distinct(boxes)
    if not len(boxes):
        return function(encoded.features(boxes))
    return torch.cat([function(part) for part in encoded.parts(boxes[first])])[shared]


class RegionFeatures(Protocol):
    """A source of region features of length `dimension`."""

    backbone: Backbone
    dimension: int
    precision: Precision

    def encode(self, image: Tensor, clock: Stopwatch | None = None) -> Encoded:
        """Do what is done once an image uint8 (3, H, W)."""
        ...


def build_features(
    config: DetectorConfig, backbone: Backbone, precision: Precision = "fp32", layers: FullyConnected | None = None
) -> SPPFeatures | CropFeatures:
    """The feature source that `config.features` names, on the device of the backbone, ending in the `layers` that
    `build_fully_connected` gives. Raises InputError for layers that are not those of the configuration."""
    pyramid = SpatialPyramidPooling(tuple(config.pyramid.levels), config.pyramid.mode)
    pooled = pyramid.out_features(backbone.channels)
    shape = (config.layers.depth, pooled if config.layers.depth else 0)
    given = (0, 0) if layers is None else (len(layers), layers.inputs)
    if shape != given:
        raise InputError("not those of the configuration", field="layers", expected=f"depth, inputs {shape}", got=given)
    if config.features == "spp":
        return SPPFeatures(backbone, pyramid, config.spp, precision, layers)
    if config.features == "crop":
        return CropFeatures(backbone, pyramid, config.crop, precision, layers)
    raise ConfigError("unknown region features", field="features", expected="spp or crop", got=config.features)


class SPPFeatures:
    """SPPnet: one pass of the network over the whole image at each scale, regions pooled from conv5 (section 4.1)."""

    def __init__(
        self,
        backbone: Backbone,
        pyramid: SpatialPyramidPooling,
        config: SPPConfig | None = None,
        precision: Precision = "fp32",
        layers: FullyConnected | None = None,
    ) -> None:
        self.backbone, self.pyramid, self.precision, self.layers = backbone, pyramid, precision, layers
        self.config = config or SPPConfig()
        if not self.config.scales or min(self.config.scales) < 1:
            raise ConfigError("no usable scale", field="spp.scales", expected="pixels", got=self.config.scales)
        self.pooled = pyramid.out_features(backbone.channels)
        self.dimension = self.pooled if layers is None else layers.dimension

    def encode(self, image: Tensor, clock: Stopwatch | None = None) -> EncodedMaps:
        """The conv5 maps of image uint8 (3, H, W), one a scale."""
        clock = clock or Stopwatch(self.backbone.device)
        maps = self.compute_maps(image, clock)
        with clock("pooling"):
            return self.restore(maps, (image.shape[1], image.shape[2]), clock)

    def compute_maps(self, image: Tensor, clock: Stopwatch | None = None) -> list[Tensor]:
        """The same as plain tensors float16 (C, h, w): what is worth keeping of an image."""
        clock = clock or Stopwatch(self.backbone.device)
        maps = []
        for side in self.config.scales:
            with clock("prepare"):
                resized = resize_shorter_side(image, side)
                pixels = _normalised(self.backbone, resized[None])
            with clock("conv"), inference(self.backbone, self.precision):
                maps.append(self.backbone(pixels)[0])  # (C, h, w)
        with clock("pooling"):
            # Rounded to half precision even when not cached, so that cold and warm runs agree.
            return [m.half() for m in maps]

    def restore(self, maps: list[Tensor], size: tuple[int, int], clock: Stopwatch | None = None) -> EncodedMaps:
        """What `encode` gave for an image of `size` (H, W), from its maps float16 (C, h, w)."""
        device = self.backbone.device
        laid_out = tuple(self.pyramid.lay_out(m[None].to(device).float()) for m in maps)
        return EncodedMaps(self, laid_out, size, clock or Stopwatch(device))


@dataclass(frozen=True, eq=False)
class EncodedMaps:
    """conv5 maps (1, C, h, w) of an image of `size` (H, W), one a scale, laid out for pooling."""

    source: SPPFeatures
    maps: tuple[LaidOutMaps, ...]
    size: tuple[int, int]
    clock: Stopwatch

    def features(self, boxes: Tensor) -> Tensor:
        """Features float32 (N, D), each box pooled at the scale that suits its size."""
        if self.source.layers is None:  # straight to where they are to be
            return self._pool(boxes, _new_rows(self.source, len(boxes)))
        return _join(self.source, self.parts(boxes), len(boxes))

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        """The same in consecutive parts, each overwritten by the next."""
        rows = max(1, PART_BYTES // (4 * self.source.pooled))
        memory = _new_rows(self.source, min(rows, len(boxes)))
        for part in boxes.split(rows):
            yield _pass_on(self.source, self._pool(part, memory[: len(part)]), self.clock)

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes that fall on the same cells at the same scale share their features."""
        with self.clock("pooling"):
            scales, windows = self._place(boxes)
            places = torch.cat([scales[:, None], windows], dim=1)
            found, shared = places.unique(dim=0, return_inverse=True)
            every = torch.arange(len(boxes), device=boxes.device)
            first = every.new_zeros(len(found)).scatter_reduce(0, shared, every, "amin", include_self=False)
        self.clock.regions += len(boxes)
        self.clock.windows += len(first)
        return first, shared

    def _pool(self, boxes: Tensor, out: Tensor) -> Tensor:
        with self.clock("pooling"), torch.inference_mode():
            scales, windows = self._place(boxes)
            if len(self.maps) == 1:
                return self.source.pyramid(self.maps[0], windows, out=out)
            for index in scales.unique().tolist():
                rows = (scales == index).nonzero().squeeze(1)
                out[rows] = self.source.pyramid(self.maps[index], windows[rows])
            return out

    def _place(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The scale (N,) and the window (N, 4) there of each box."""
        config = self.source.config
        scales = choose_scales(boxes, min(self.size), config.scales, config.scale_rule)
        windows = torch.zeros(len(boxes), 4, dtype=torch.int64, device=boxes.device)
        for index, maps in enumerate(self.maps):
            rows = (scales == index).nonzero().squeeze(1)
            height, width = shorter_side_size(*self.size, config.scales[index])
            scale = (width / self.size[1], height / self.size[0])  # the real ratios of the rounded size
            map_size = (maps.shape[2], maps.shape[3])
            geometry = self.source.backbone.geometry
            windows[rows] = boxes_to_windows(boxes[rows], scale, geometry, map_size, config.rule)
        return scales, windows


class CropFeatures:
    """R-CNN: each region is warped to a square with some context and passed through the network (R-CNN, appendix A)."""

    def __init__(
        self,
        backbone: Backbone,
        pyramid: SpatialPyramidPooling,
        config: CropConfig | None = None,
        precision: Precision = "fp32",
        layers: FullyConnected | None = None,
    ) -> None:
        self.backbone, self.pyramid, self.precision, self.layers = backbone, pyramid, precision, layers
        self.config = config or CropConfig()
        if not 0 <= 2 * self.config.context < self.config.size or self.config.batch < 1:
            raise ConfigError(
                "cannot be used", field="crop", expected="0 <= 2 * context < size, batch >= 1", got=config
            )
        self.pooled = pyramid.out_features(backbone.channels)
        self.dimension = self.pooled if layers is None else layers.dimension

    def encode(self, image: Tensor, clock: Stopwatch | None = None) -> EncodedCrops:
        """The image uint8 (3, H, W) itself: the network has nothing to do before it sees the regions."""
        return EncodedCrops(self, to_array(image), clock or Stopwatch(self.backbone.device))


@dataclass(frozen=True, eq=False)
class EncodedCrops:
    """An image uint8 (H, W, 3) to take crops from."""

    source: CropFeatures
    image: np.ndarray
    clock: Stopwatch

    def features(self, boxes: Tensor) -> Tensor:
        """Features float32 (N, D) of the map of each box's warped crop."""
        return _join(self.source, self.parts(boxes), len(boxes))

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        """The same in consecutive parts, each overwritten by the next: many batches of crops, as a product of a few
        rows with the matrices of fully connected layers would take as long as one of hundreds."""
        source, batch = self.source, self.source.config.batch
        rows = batch * max(1, PART_BYTES // (4 * source.pooled * batch))
        memory = _new_rows(source, min(rows, len(boxes)))
        for part in boxes.split(rows) if len(boxes) else ():
            for start in range(0, len(part), batch):
                crops = part[start : start + batch]
                self._pool(crops, memory[start : start + len(crops)])
            features = _pass_on(source, memory[: len(part)], self.clock)
            # Half precision even when not cached, so that cold and warm runs agree.
            yield features if source.layers is None else features.half().float()

    def _pool(self, boxes: Tensor, out: Tensor) -> None:
        source, clock = self.source, self.clock
        with torch.inference_mode():
            with clock("prepare"):
                crops = warp_crops(self.image, boxes, source.config, source.backbone)
            with clock("conv"), inference(source.backbone, source.precision):
                maps = source.backbone(crops)  # (B, C, h, w)
            with clock("pooling"):
                out.copy_(source.pyramid(maps.half()))  # half precision for the same reason

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Every box has a crop of its own."""
        every = torch.arange(len(boxes))
        return every, every


def _new_rows(source: SPPFeatures | CropFeatures, count: int) -> Tensor:
    return torch.empty(count, source.pooled, device=source.backbone.device)


def _pass_on(source: SPPFeatures | CropFeatures, pooled: Tensor, clock: Stopwatch) -> Tensor:
    """Pooled features (n, pooled) through the fully connected layers, where there are any: (n, D)."""
    if source.layers is None:
        return pooled
    with clock("heads"):
        return source.layers(pooled)


def _join(source: SPPFeatures | CropFeatures, parts: Iterator[Tensor], count: int) -> Tensor:
    """Features (count, D) from their parts."""
    joined = torch.empty(count, source.dimension, device=source.backbone.device)
    start = 0
    for part in parts:
        joined[start : start + len(part)] = part
        start += len(part)
    return joined


def _normalised(backbone: Backbone, images: Tensor) -> Tensor:
    return normalise(images.to(backbone.device), backbone.mean, backbone.std)


@contextmanager
def inference(backbone: Backbone, precision: Precision) -> Iterator[None]:
    """No gradients, and autocast of the convolutions to half precision where asked for."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.inference_mode(), torch.autocast(backbone.device.type, dtype, enabled=precision != "fp32"):
        yield
