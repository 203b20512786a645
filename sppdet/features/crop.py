"""R-CNN's features: one pass of the network over the crop of every region (R-CNN, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.detector import CropConfig
from sppdet.errors import InputError
from sppdet.features.extractor import FeatureExtractor
from sppdet.features.warp import warp_crops
from sppdet.files.atomic import hash_tensors
from sppdet.images import to_array
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.runtime.stopwatch import stage


class CropExtractor(FeatureExtractor):
    """R-CNN: each region is warped to a square with some context and passed through the network (R-CNN, appendix A)."""

    per_region = True

    def __init__(
        self,
        backbone: Backbone,
        pyramid: SpatialPyramidPooling,
        config: CropConfig | None = None,
        layers: FullyConnected | None = None,
    ) -> None:
        super().__init__(backbone, pyramid.out_features(backbone.channels), layers)
        self.pyramid, self.config = pyramid, config or CropConfig()

    def encode(self, image: Tensor) -> CropFeatures:
        """Wrap the image uint8 (3, H, W): the network sees nothing but crops of it."""
        return CropFeatures(self, to_array(image))

    def pool(self, image: Tensor, boxes: Tensor, scale: float) -> Tensor:
        del scale  # crops have one size
        if not len(boxes):
            return self.empty(0)
        array = to_array(image)
        batches = [warp_crops(array, part, self.config, self.backbone) for part in boxes.split(self.config.batch_size)]
        maps = [self.backbone(crops) for crops in batches]
        return torch.cat([self.pyramid(m.float()) for m in maps])

    def store(self, image: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Compute the features float16 (N, D) of the boxes."""
        return {"features": self.encode(image).features(boxes).half()}

    def restore(self, stored: Mapping[str, Tensor], size: tuple[int, int], boxes: Tensor) -> CachedFeatures:
        del size  # crops are behind us
        return CachedFeatures(self, stored["features"], boxes)

    def cache_key(self) -> tuple[object, ...]:
        layers = {} if self.layers is None else self.layers.state_dict()
        pyramid = self.pyramid.levels, self.pyramid.mode
        return "crop", self.network_key(), asdict(self.config), pyramid, hash_tensors(layers.values())

    def describe(self) -> dict[str, Any]:
        return {"crop": self.config.size, "batch": self.config.batch_size}


@dataclass(frozen=True, eq=False)
class CropFeatures:
    """An image uint8 (H, W, 3) to take crops from."""

    extractor: CropExtractor
    image: np.ndarray

    def features(self, boxes: Tensor) -> Tensor:
        """Compute features float32 (N, D) from the map of each box's warped crop."""
        return self.extractor.concatenate(self.chunks(boxes), len(boxes))

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Yield the same features in consecutive chunks, each overwritten by the next.

        A chunk is many batches of crops: the product of a few rows with the matrix of a fully connected layer takes as
        long as one of hundreds.
        """
        extractor, batch = self.extractor, self.extractor.config.batch_size
        rows = batch * max(1, extractor.CHUNK_BYTES // (4 * extractor.pooled * batch))
        memory = extractor.empty(min(rows, len(boxes)))
        for part in boxes.split(rows) if len(boxes) else ():
            for start in range(0, len(part), batch):
                crops = part[start : start + batch]
                self._pool(crops, memory[start : start + len(crops)])
            features = extractor.apply_layers(memory[: len(part)])
            # Rounded to half precision even when not cached, so that cold and warm runs agree.
            yield features if extractor.layers is None else features.half().float()

    def _pool(self, boxes: Tensor, out: Tensor) -> None:
        extractor = self.extractor
        with torch.inference_mode():
            with stage("preprocess"):
                crops = warp_crops(self.image, boxes, extractor.config, extractor.backbone)
            with stage("conv"):
                maps = extractor.backbone(crops)  # (B, C, h, w)
            with stage("pooling"):
                out.copy_(extractor.pyramid(maps.half()))  # half precision for the same reason

    def unique_windows(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Every box has a crop of its own."""
        return _all_distinct(boxes)


@dataclass(frozen=True, eq=False)
class CachedFeatures:
    """Features float16 (R, D) computed before, of boxes float32 (R, 4). No other boxes may be asked for."""

    extractor: CropExtractor
    rows: Tensor
    boxes: Tensor

    def features(self, boxes: Tensor) -> Tensor:
        """Look up features float32 (N, D)."""
        return self.extractor.concatenate(self.chunks(boxes), len(boxes))

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Yield the same features in consecutive chunks."""
        rows, count = self._find(boxes), max(1, self.extractor.CHUNK_BYTES // (4 * self.rows.shape[1]))
        for chunk in rows.split(count) if len(rows) else ():
            yield self.rows[chunk].to(self.extractor.backbone.device).float()

    def unique_windows(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Every box has a crop of its own."""
        return _all_distinct(boxes)

    def _find(self, boxes: Tensor) -> Tensor:
        """Return the row of each box."""
        row_of = {tuple(box): row for row, box in enumerate(self.boxes.tolist())}
        try:
            return torch.tensor([row_of[tuple(box)] for box in boxes.tolist()], dtype=torch.int64)
        except KeyError as error:
            raise InputError("not among those stored", field="boxes", got=error.args[0]) from None


def _all_distinct(boxes: Tensor) -> tuple[Tensor, Tensor]:
    indices = torch.arange(len(boxes))
    return indices, indices
