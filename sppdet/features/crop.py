"""R-CNN's features: one pass of the network over the crop of every region (R-CNN, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone, check_maps
from sppdet.config.detector import CropConfig
from sppdet.errors import InputError
from sppdet.features.extractor import FeatureExtractor, ImageFeatures, PooledRegion
from sppdet.files.atomic import hash_tensors
from sppdet.images import resize_array, to_array
from sppdet.pooling.windows import first_cell
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.stopwatch import stage

WARPED = 6  # batches of crops that are warped ahead of a GPU


class CropExtractor(FeatureExtractor):
    """R-CNN: each region is warped to a square with some context and passed through the network (R-CNN, appendix A)."""

    per_region = True
    config: CropConfig

    def encode(self, image: Tensor) -> CropFeatures:
        """Wrap the image uint8 (3, H, W): the network sees nothing but crops of it."""
        return CropFeatures(self, to_array(image))

    def pool(self, image: Tensor, boxes: Tensor, scale_position: float) -> Tensor:
        del scale_position  # crops have one size
        if not len(boxes):
            return self.empty(0)
        array = to_array(image)
        batches = [warp_crops(array, part, self.config, self.backbone) for part in boxes.split(self.config.batch_size)]
        return torch.cat([self.pooling([maps.float() for maps in self.backbone(crops)]) for crops in batches])

    def store(self, image: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Compute the features float16 (N, D) of the boxes."""
        return {"features": self.encode(image).features(boxes).half()}

    def restore(self, stored: Mapping[str, Tensor], size: tuple[int, int], boxes: Tensor) -> CachedFeatures:
        del size  # the stored features need no image
        return CachedFeatures(self, stored["features"], boxes)

    def cache_key(self) -> tuple[object, ...]:
        layers = {} if self.layers is None else self.layers.state_dict()
        pyramid: list[object] = [(form.levels, form.mode) for form in self.pooling.forms]
        pyramid += ["unit length"] if self.pooling.unit_length else []
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
        rows = batch * extractor.chunk_rows(extractor.pooled_dimension * batch)
        memory = extractor.empty(min(rows, len(boxes)))
        for part in boxes.split(rows) if len(boxes) else ():
            place = 0
            for crops in self._warp(part.split(batch)):
                self._pool(crops, memory[place : place + len(crops)])
                place += len(crops)
            features = extractor.apply_layers(memory[: len(part)])
            # Rounded to half precision even when not cached, so that cold and warm runs agree.
            yield features if extractor.layers is None else features.half().float()

    def pool_region(self, box: Tensor) -> PooledRegion:
        extractor = self.extractor
        crops = warp_crops(self.image, box[None], extractor.config, extractor.backbone)
        with torch.inference_mode():
            halves = [one.half() for one in extractor.backbone(crops)]
        maps = tuple(one.float().clone().requires_grad_() for one in halves)
        ((x1, y1, x2, y2),) = _grow(box[None], extractor.config).tolist()
        scale = extractor.config.size / max(1, x2 - x1), extractor.config.size / max(1, y2 - y1)
        cells = [first_cell(geometry, scale, (x1, y1)) for geometry in extractor.backbone.geometries]
        whole = [[0.0, 0.0, one.shape[3], one.shape[2]] for one in maps]
        pooled = extractor.pooling(maps, constant_lengths=True)
        rounded = (pooled.half().float() / pooled).nan_to_num(1.0).detach()  # as in `chunks`
        return PooledRegion(maps, whole, cells, pooled * rounded)

    def _warp(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the crops of each batch of boxes. While a GPU works on some, the processor cuts the next."""
        config, backbone = self.extractor.config, self.extractor.backbone

        def cut(boxes: Tensor) -> Crops:
            return cut_crops(self.image, boxes, config)

        on_cpu = backbone.device.type == "cpu"
        pieces = map(cut, batches) if on_cpu else prefetch(batches, cut, min(WARPED, torch.get_num_threads()))
        for _ in batches:
            with stage("preprocess"):
                crops = normalize_crops(next(pieces), backbone)
            yield crops

    def _pool(self, crops: Tensor, out: Tensor) -> None:
        with torch.inference_mode():
            with stage("conv"):
                maps = [each.half() for each in self.extractor.backbone(crops)]  # (B, C, h, w), for the same reason
                check_maps(maps)
            with stage("pooling"):
                out.copy_(self.extractor.pooling(maps))


@dataclass(frozen=True, eq=False)
class CachedFeatures(ImageFeatures):
    """Features float16 (R, D) read from the cache, of boxes float32 (R, 4). Other boxes raise InputError."""

    extractor: CropExtractor
    rows: Tensor
    boxes: Tensor

    def pool_region(self, box: Tensor) -> PooledRegion:
        raise InputError("not among those with maps", field="box", expected="an encoded image", got=box.tolist())

    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Look up the features."""
        row_of = {tuple(box): row for row, box in enumerate(self.boxes.tolist())}
        try:
            rows = torch.tensor([row_of[tuple(box)] for box in boxes.tolist()], dtype=torch.int64)
        except KeyError as error:
            raise InputError("not among those stored", field="boxes", got=error.args[0]) from None
        for chunk in rows.split(self.extractor.chunk_rows(self.rows.shape[1])) if len(rows) else ():
            yield self.rows[chunk].to(self.extractor.backbone.device).float()


def warp_crops(image: np.ndarray, boxes: Tensor, config: CropConfig, backbone: Backbone) -> Tensor:
    """Warp boxes (N, 4) of an image uint8 (H, W, 3) to normalized square crops float32 (N, 3, size, size).

    A box grows about its center by size / (size - 2 * context) and is clipped to the image; the valid part is
    resized into place, and pixels outside the image are 0, the mean color.
    """
    return normalize_crops(cut_crops(image, boxes, config), backbone)


class Crops(NamedTuple):
    """pixels: uint8 (N, 3, size, size). places: the rows and columns (top, bottom, left, right) on the image."""

    pixels: Tensor
    places: list[tuple[int, int, int, int]]


def cut_crops(image: np.ndarray, boxes: Tensor, config: CropConfig) -> Crops:
    """Do the part of `warp_crops` that is the processor's."""
    side = config.size
    height, width = image.shape[:2]
    grown = _grow(boxes, config)
    crops = np.zeros((len(boxes), side, side, 3), np.uint8)
    places = []
    for crop, (gx1, gy1, gx2, gy2) in zip(crops, grown.int().tolist(), strict=True):
        x1, x2 = _clip_range(gx1, gx2, width)
        y1, y2 = _clip_range(gy1, gy2, height)
        left, right = _paste_range(x1, x2, gx1, gx2, side)
        top, bottom = _paste_range(y1, y2, gy1, gy2, side)
        crop[top:bottom, left:right] = resize_array(image[y1:y2, x1:x2], bottom - top, right - left)
        places.append((top, bottom, left, right))
    return Crops(torch.from_numpy(crops).permute(0, 3, 1, 2), places)


def _grow(boxes: Tensor, config: CropConfig) -> Tensor:
    """Return the boxes (N, 4) with their context, in whole pixels."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1) / 2
    half = half * (config.size / (config.size - 2 * config.context))
    return torch.cat([center - half, center + half], dim=1).round()


def normalize_crops(crops: Crops, backbone: Backbone) -> Tensor:
    """Do the part of `warp_crops` that is the device's."""
    pixels = backbone.normalize(crops.pixels)
    side = pixels.shape[3]
    for crop, (top, bottom, left, right) in zip(pixels, crops.places, strict=True):
        if (top, bottom, left, right) != (0, side, 0, side):
            crop[:, :top], crop[:, bottom:], crop[:, :, :left], crop[:, :, right:] = 0, 0, 0, 0
    return pixels


def _clip_range(start: int, end: int, length: int) -> tuple[int, int]:
    """Clip [start, end) to [0, length), keeping at least one pixel."""
    first = min(max(start, 0), length - 1)
    return first, max(first + 1, min(end, length))


def _paste_range(valid_start: int, valid_end: int, start: int, end: int, side: int) -> tuple[int, int]:
    """Map [valid_start, valid_end) of [start, end) to pixels of a crop of side `side`, at least one."""
    scale = side / max(1, end - start)
    return _clip_range(round((valid_start - start) * scale), round((valid_end - start) * scale), side)
