"""Selective search (Uijlings et al., IJCV 2013): boxes that are likely to hold an object, from one image.

The boxes are OpenCV's, the order is ours. OpenCV ranks with libc's rand(), so its first 2,000 boxes change from run to
run; and it multiplies by a region's depth from the leaves, which puts the smallest first. The set does not depend on
rand(). Here a box's rank is sqrt(position by size, largest first) times a uniform random number drawn from a seed that
is a function of the image and the parameters: large regions, the late merges of the hierarchy, tend to come first, as
in the paper (section 3.3), and the random number spreads the sizes. On 25 images of VOC2007 val (69 objects) the recall
at IoU 0.5 of the first 2000, 1000 and 300 boxes is 0.938, 0.909 and 0.783 (mean of ten seeds); in OpenCV's order 0.937,
0.865 and 0.725 (of three); in a uniformly random order 0.941, 0.913 and 0.765.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from sppdet.boxes import clip_boxes
from sppdet.errors import ConfigError
from sppdet.images import resize_array, to_array
from sppdet.structures import check_tensor

# What cached boxes depend on beside the image and the parameters; the number changes with the code of this file.
ALGORITHM = f"opencv-{cv2.__version__}-1"

# A strip one pixel wide would become millions of rows at a width of 500.
MAX_ASPECT = 4


def selective_search(
    image: Tensor,
    mode: Literal["fast", "quality"] = "fast",
    width: int | None = 500,
    min_side: int = 20,
    limit: int | None = 2000,
) -> Tensor:
    """Boxes float32 (N, 4) of an image uint8 (3, H, W), 1 <= N <= limit, best first, in pixels of the image.

    The image is searched at `width` pixels (None: as it is; a height above 4 widths makes it narrower), and boxes with
    a side under `min_side` pixels there are dropped. Where none remains, the whole image is the one box. The first n
    boxes are the same for every limit (None: no limit). Raises ConfigError for a parameter out of range.
    """
    check_tensor(image, "image", torch.uint8, 3, None, None)
    check_search(mode, width, min_side, limit)
    array = to_array(image)
    searched = _resize_to_width(array, width) if width else array
    found = _search(searched, mode)
    found = found[((found[:, 2:] - found[:, :2]) >= min_side).all(axis=1)]
    height, width_ = array.shape[:2]
    if not len(found):
        return torch.tensor([[0, 0, width_, height]], dtype=torch.float32)
    ranked = _rank(found, _seed(array, mode, width, min_side))[:limit]
    scale_x, scale_y = width_ / searched.shape[1], height / searched.shape[0]
    boxes = torch.from_numpy((ranked * [scale_x, scale_y, scale_x, scale_y]).astype(np.float32))
    return clip_boxes(boxes, height, width_)


def check_search(mode: str, width: int | None, min_side: int, limit: int | None) -> None:
    """Raise ConfigError for a parameter of selective search that is out of range."""
    if mode not in ("fast", "quality"):
        raise ConfigError("unknown mode of selective search", field="mode", expected="fast or quality", got=mode)
    for name, value, least in (("width", width, 1), ("min_side", min_side, 0), ("limit", limit, 1)):
        if value is not None and value < least:
            raise ConfigError("out of range", field=name, expected=f"at least {least}", got=value)


def _resize_to_width(array: np.ndarray, width: int) -> np.ndarray:
    ratio = min(width / array.shape[1], MAX_ASPECT * width / array.shape[0])
    return resize_array(array, max(1, round(array.shape[0] * ratio)), max(1, round(array.shape[1] * ratio)))


def _search(array: np.ndarray, mode: str) -> np.ndarray:
    """The distinct boxes int64 (N, 4), x1 y1 x2 y2, of an RGB array (H, W, 3), in lexicographic order."""
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.cvtColor(array, cv2.COLOR_RGB2BGR))
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), dtype=np.int64).reshape(-1, 4)  # x, y, width, height
    found[:, 2:] += found[:, :2]
    return np.unique(found, axis=0)


def _seed(array: np.ndarray, *parameters: object) -> int:
    digest = hashlib.sha256(repr((array.shape, *parameters)).encode())
    digest.update(array.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _rank(boxes: np.ndarray, seed: int) -> np.ndarray:
    """Distinct boxes (N, 4), lexicographically sorted, in the order that this module's docstring describes."""
    by_size = boxes[np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")]
    rank = np.sqrt(np.arange(1, len(boxes) + 1)) * np.random.default_rng(seed).random(len(boxes))
    return by_size[np.argsort(rank, kind="stable")]
