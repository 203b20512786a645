"""R-CNN's crops: regions warped to squares of one size, with some context (R-CNN, appendix A)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.config.detector import CropConfig
from sppdet.images import normalize, resize_array


def warp_crops(image: np.ndarray, boxes: Tensor, config: CropConfig, backbone: Backbone) -> Tensor:
    """Normalized crops float32 (N, 3, size, size) of boxes (N, 4), each warped with its context to a square.

    A box grows about its center by size / (size - 2 * context) and is clipped to the image uint8 (H, W, 3); the valid
    part is resized into place, and what lies outside the image is 0, the mean color.
    """
    side = config.size
    height, width = image.shape[:2]
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1) / 2
    half = half * (side / (side - 2 * config.context))
    grown = torch.cat([center - half, center + half], dim=1).round()
    crops = np.zeros((len(boxes), side, side, 3), np.uint8)
    places = []
    for crop, (gx1, gy1, gx2, gy2) in zip(crops, grown.int().tolist(), strict=True):
        x1, x2 = _valid_range(gx1, gx2, width)
        y1, y2 = _valid_range(gy1, gy2, height)
        left, right = _place(x1, x2, gx1, gx2, side)
        top, bottom = _place(y1, y2, gy1, gy2, side)
        crop[top:bottom, left:right] = resize_array(image[y1:y2, x1:x2], bottom - top, right - left)
        places.append((top, bottom, left, right))
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).to(backbone.device)
    pixels = normalize(pixels, backbone.mean, backbone.std)
    for crop, (top, bottom, left, right) in zip(pixels, places, strict=True):
        crop[:, :top], crop[:, bottom:], crop[:, :, :left], crop[:, :, right:] = 0, 0, 0, 0
    return pixels


def _valid_range(start: int, end: int, length: int) -> tuple[int, int]:
    """The part of [start, end) in [0, length), at least one pixel."""
    first = min(max(start, 0), length - 1)
    return first, max(first + 1, min(end, length))


def _place(valid_start: int, valid_end: int, start: int, end: int, side: int) -> tuple[int, int]:
    """Where [valid_start, valid_end) of [start, end) falls in a crop of `side` pixels, at least one pixel."""
    scale = side / max(1, end - start)
    first = min(max(round((valid_start - start) * scale), 0), side - 1)
    return first, max(first + 1, min(round((valid_end - start) * scale), side))
