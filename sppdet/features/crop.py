"""R-CNN's features: one pass of the network over every region's crop (R-CNN, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.detector import CropConfig
from sppdet.config.network import Precision
from sppdet.errors import ConfigError
from sppdet.features import extractor as features
from sppdet.features.extractor import FeatureExtractor, inference
from sppdet.features.warp import warp_crops
from sppdet.images import to_array
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.runtime.stopwatch import stage


class CropExtractor(FeatureExtractor):
    """R-CNN: each region is warped to a square with some context and passed through the network (R-CNN, appendix A)."""

    def __init__(
        self,
        backbone: Backbone,
        pyramid: SpatialPyramidPooling,
        config: CropConfig | None = None,
        precision: Precision = "fp32",
        layers: FullyConnected | None = None,
    ) -> None:
        super().__init__(backbone, pyramid.out_features(backbone.channels), precision, layers)
        self.pyramid, self.config = pyramid, config or CropConfig()
        if not 0 <= 2 * self.config.context < self.config.size or self.config.batch_size < 1:
            raise ConfigError(
                "cannot be used", field="crop", expected="0 <= 2 * context < size, batch >= 1", got=config
            )

    def encode(self, image: Tensor) -> CropFeatures:
        """The image uint8 (3, H, W) itself: the network has nothing to do before it sees the regions."""
        return CropFeatures(self, to_array(image))

    def pool(self, image: Tensor, boxes: Tensor, scale: float) -> Tensor:
        del scale  # crops have one size
        if not len(boxes):
            return self.empty(0)
        array = to_array(image)
        parts = [warp_crops(array, part, self.config, self.backbone) for part in boxes.split(self.config.batch_size)]
        with self.backbone.autocast(self.precision):
            maps = [self.backbone(crops) for crops in parts]
        return torch.cat([self.pyramid(m.float()) for m in maps])


@dataclass(frozen=True, eq=False)
class CropFeatures:
    """An image uint8 (H, W, 3) to take crops from."""

    source: CropExtractor
    image: np.ndarray

    def features(self, boxes: Tensor) -> Tensor:
        """Features float32 (N, D) of the map of each box's warped crop."""
        return self.source.join(self.parts(boxes), len(boxes))

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        """The same in consecutive parts, each overwritten by the next: many batches of crops, as a product of a few
        rows with the matrices of fully connected layers would take as long as one of hundreds."""
        source, batch = self.source, self.source.config.batch_size
        rows = batch * max(1, features.PART_BYTES // (4 * source.pooled * batch))
        memory = source.empty(min(rows, len(boxes)))
        for part in boxes.split(rows) if len(boxes) else ():
            for start in range(0, len(part), batch):
                crops = part[start : start + batch]
                self._pool(crops, memory[start : start + len(crops)])
            found = source.apply_layers(memory[: len(part)])
            # Half precision even when not cached, so that cold and warm runs agree.
            yield found if source.layers is None else found.half().float()

    def _pool(self, boxes: Tensor, out: Tensor) -> None:
        source = self.source
        with torch.inference_mode():
            with stage("preprocess"):
                crops = warp_crops(self.image, boxes, source.config, source.backbone)
            with stage("conv"), inference(source.backbone, source.precision):
                maps = source.backbone(crops)  # (B, C, h, w)
            with stage("pooling"):
                out.copy_(source.pyramid(maps.half()))  # half precision for the same reason

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Every box has a crop of its own."""
        every = torch.arange(len(boxes))
        return every, every
