"""R-CNN's crops: regions warped to squares of one size, with some context (R-CNN, appendix A)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.config.detector import CropConfig
from sppdet.images import resize_array


def warp_crops(image: np.ndarray, boxes: Tensor, config: CropConfig, backbone: Backbone) -> Tensor:
    """Warp boxes (N, 4) of an image uint8 (H, W, 3) to normalized square crops float32 (N, 3, size, size).

    A box grows about its center by size / (size - 2 * context) and is clipped to the image; the valid part is
    resized into place, and pixels outside the image are 0, the mean color.
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
        left, right = _paste_range(x1, x2, gx1, gx2, side)
        top, bottom = _paste_range(y1, y2, gy1, gy2, side)
        crop[top:bottom, left:right] = resize_array(image[y1:y2, x1:x2], bottom - top, right - left)
        places.append((top, bottom, left, right))
    pixels = backbone.normalize(torch.from_numpy(crops).permute(0, 3, 1, 2))
    for crop, (top, bottom, left, right) in zip(pixels, places, strict=True):
        crop[:, :top], crop[:, bottom:], crop[:, :, :left], crop[:, :, right:] = 0, 0, 0, 0
    return pixels


def _valid_range(start: int, end: int, length: int) -> tuple[int, int]:
    """Clip [start, end) to [0, length), keeping at least one pixel."""
    first = min(max(start, 0), length - 1)
    return first, max(first + 1, min(end, length))


def _paste_range(valid_start: int, valid_end: int, start: int, end: int, side: int) -> tuple[int, int]:
    """Map [valid_start, valid_end) of [start, end) to pixels of a crop of side `side`, at least one."""
    scale = side / max(1, end - start)
    first = min(max(round((valid_start - start) * scale), 0), side - 1)
    return first, max(first + 1, min(round((valid_end - start) * scale), side))
