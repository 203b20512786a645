"""R-CNN's features: one pass of the network over the crop of every region (R-CNN, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sppdet.config.detector import CropConfig
from sppdet.errors import InputError
from sppdet.features.extractor import FeatureExtractor, ImageFeatures
from sppdet.features.warp import warp_crops
from sppdet.files.atomic import hash_tensors
from sppdet.images import to_array
from sppdet.runtime.stopwatch import stage


class CropExtractor(FeatureExtractor):
    """R-CNN: each region is warped to a square with some context and passed through the network (R-CNN, appendix A)."""

    per_region = True
    config: CropConfig

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
        return torch.cat([self.pooling(m.float()) for m in maps])

    def store(self, image: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Compute the features float16 (N, D) of the boxes."""
        return {"features": self.encode(image).features(boxes).half()}

    def restore(self, stored: Mapping[str, Tensor], size: tuple[int, int], boxes: Tensor) -> CachedFeatures:
        del size  # crops are behind us
        return CachedFeatures(self, stored["features"], boxes)

    def cache_key(self) -> tuple[object, ...]:
        layers = {} if self.layers is None else self.layers.state_dict()
        pyramid = self.pooling.levels, self.pooling.mode
        return "crop", self.network_key(), asdict(self.config), pyramid, hash_tensors(layers.values())

    def describe(self) -> dict[str, Any]:
        return {"crop": self.config.size, "batch": self.config.batch_size}


@dataclass(frozen=True, eq=False)
class CropFeatures(ImageFeatures):
    """An image uint8 (H, W, 3) to take crops from."""

    extractor: CropExtractor
    image: np.ndarray

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Yield the features of each box's warped crop.

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
                out.copy_(extractor.pooling(maps.half()))  # half precision for the same reason


@dataclass(frozen=True, eq=False)
class CachedFeatures(ImageFeatures):
    """Features float16 (R, D) computed before, of boxes float32 (R, 4). No other boxes may be asked for."""

    extractor: CropExtractor
    rows: Tensor
    boxes: Tensor

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Look up the features."""
        rows, count = self._find(boxes), max(1, self.extractor.CHUNK_BYTES // (4 * self.rows.shape[1]))
        for chunk in rows.split(count) if len(rows) else ():
            yield self.rows[chunk].to(self.extractor.backbone.device).float()

    def _find(self, boxes: Tensor) -> Tensor:
        """Return the row of each box."""
        row_of = {tuple(box): row for row, box in enumerate(self.boxes.tolist())}
        try:
            return torch.tensor([row_of[tuple(box)] for box in boxes.tolist()], dtype=torch.int64)
        except KeyError as error:
            raise InputError("not among those stored", field="boxes", got=error.args[0]) from None
