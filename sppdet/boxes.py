"""Box arithmetic: clip, overlap, encode and decode for regression.

Boxes are float32 (N, 4), x1 y1 x2 y2, pixels, 0-based and half-open.
"""

from __future__ import annotations

import torch
from torch import Tensor

# exp() of a regressed log size is bounded so that one wild prediction cannot overflow (as in torchvision).
MAX_LOG_RATIO = 4.135166556742356  # log(1000 / 16)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (..., 4) cut to the image [0, width) x [0, height)."""
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4), in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (N, M) of boxes a (N, 4) and b (M, 4); 0 where the union is empty."""
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def encode_boxes(boxes: Tensor, targets: Tensor) -> Tensor:
    """Regression targets (N, 4): (dx / w, dy / h, log dw, log dh) from `boxes` to `targets` (R-CNN, appendix C).

    Both must have positive width and height.
    """
    size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    target_size, target_centre = targets[:, 2:] - targets[:, :2], (targets[:, :2] + targets[:, 2:]) / 2
    return torch.cat([(target_centre - centre) / size, torch.log(target_size / size)], dim=1)


def decode_boxes(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes (N, 4) or (N, K, 4) moved by offsets of the same leading shape, the inverse of `encode_boxes`."""
    if offsets.ndim == 3:
        boxes = boxes[:, None, :]
    size, centre = boxes[..., 2:] - boxes[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2
    new_centre = centre + offsets[..., :2] * size
    new_half = torch.exp(offsets[..., 2:].clamp(max=MAX_LOG_RATIO)) * size / 2
    return torch.cat([new_centre - new_half, new_centre + new_half], dim=-1)
