"""Resizing of images for classification."""

from __future__ import annotations

import torch
from torch import Tensor

from sppdet.config.classification import View
from sppdet.images import resize_array, shorter_side_size, to_array

MAX_ASPECT = 4  # a longer image is squeezed: it would take too much memory, or vanish in a layer


def resize_to_view(image: Tensor, size: int, view: View, crop_position: float = 0.5) -> Tensor:
    """Resize an image uint8 (3, H, W) to uint8 (3, h, w).

    full: the whole image, its shorter side `size` pixels, aspect kept (up to 4 to 1). crop: a square of that, at
    `crop_position` along the longer side, in [0, 1]. warp: the whole image, squeezed into a square.
    """
    height, width = (size, size) if view == "warp" else shorter_side_size(image.shape[1], image.shape[2], size)
    height, width = (min(side, MAX_ASPECT * size) for side in (height, width))
    resized = torch.from_numpy(resize_array(to_array(image), height, width)).permute(2, 0, 1)
    if view != "crop":
        return resized
    top, left = round(crop_position * (height - size)), round(crop_position * (width - size))
    return resized[:, top : top + size, left : left + size]
