"""From an image of any size to what a network sees of it."""

from __future__ import annotations

import torch
from torch import Tensor

from sppdet.config.classification import View
from sppdet.images import resize_array, shorter_side_size, to_array

LONGEST = 4  # sides: an image more elongated is squeezed, as it would take too much memory, or vanish in a layer


def resize_to_view(image: Tensor, size: int, view: View, place: float = 0.5) -> Tensor:
    """Image uint8 (3, H, W) as uint8 (3, h, w).

    full: all of it, the shorter side of `size` pixels, aspect kept (up to 4 to 1). crop: the square of that at this
    `place` along the longer side, from 0 to 1. warp: all of it, squeezed into a square.
    """
    height, width = (size, size) if view == "warp" else shorter_side_size(image.shape[1], image.shape[2], size)
    height, width = (min(side, LONGEST * size) for side in (height, width))
    resized = torch.from_numpy(resize_array(to_array(image), height, width)).permute(2, 0, 1)
    if view != "crop":
        return resized
    top, left = round(place * (height - size)), round(place * (width - size))
    return resized[:, top : top + size, left : left + size]
