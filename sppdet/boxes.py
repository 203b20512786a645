"""Box arithmetic: clip, IoU, encoding for regression, and non-maximum suppression (NMS).

Boxes are float32 (N, 4), x1 y1 x2 y2, pixels, 0-based and half-open.
"""

import numpy as np
import torch
from torch import Tensor

from sppdet.runtime.compiled import compiled

# exp() of a regressed log size is bounded so that one wild prediction cannot overflow (as in torchvision).
MAX_LOG_RATIO = 4.135166556742356  # log(1000 / 16)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Clip boxes (..., 4) to the image [0, width) x [0, height)."""
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


def mirror_boxes(boxes: Tensor, width: int) -> Tensor:
    """Return the places of boxes (N, 4) in the mirror image of an image of this width."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def box_area(boxes: Tensor) -> Tensor:
    """Compute the areas (...) of boxes (..., 4), in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union (N, M) of boxes a (N, 4) and b (M, 4); 0 if the union is empty.

    >>> a = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    >>> box_iou(a, torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 0.0, 8.0, 2.0]]))
    tensor([[0.5000, 0.0000]])
    """
    return iou_of_pairs(a[:, None], b[None])


def iou_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union (...) of each box of a (..., 4) with that of b (..., 4); shapes broadcast."""
    top_left = torch.maximum(a[..., :2], b[..., :2])
    bottom_right = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    union = box_area(a) + box_area(b) - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def encode_boxes(boxes: Tensor, targets: Tensor) -> Tensor:
    """Encode `targets` (N, 4) relative to `boxes` (N, 4) as offsets (dx / w, dy / h, log dw, log dh): the shift of the
    center in widths and heights of the box, and the logarithm of the change in size (R-CNN, appendix C).

    Both must have positive width and height.

    >>> boxes, targets = torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[5.0, 0.0, 15.0, 10.0]])
    >>> encode_boxes(boxes, targets)
    tensor([[0.5000, 0.0000, 0.0000, 0.0000]])
    >>> decode_boxes(boxes, encode_boxes(boxes, targets))
    tensor([[ 5.,  0., 15., 10.]])
    """
    size, center = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    target_size, target_center = targets[:, 2:] - targets[:, :2], (targets[:, :2] + targets[:, 2:]) / 2
    return torch.cat([(target_center - center) / size, torch.log(target_size / size)], dim=1)


def decode_boxes(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Move boxes (N, 4) by offsets (N, 4) or (N, K, 4), the inverse of `encode_boxes`; returns the offsets' shape."""
    if offsets.ndim == 3:
        boxes = boxes[:, None, :]
    size, center = boxes[..., 2:] - boxes[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2
    new_center = center + offsets[..., :2] * size
    new_half = torch.exp(offsets[..., 2:].clamp(max=MAX_LOG_RATIO)) * size / 2
    return torch.cat([new_center - new_half, new_center + new_half], dim=-1)


def nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, limit: int | None = None) -> Tensor:
    """Suppress boxes that overlap better ones of the same label.

    Returns the indices int64 of the remaining boxes, best score first, on the device of the boxes.

    boxes: float32 (M, 4). scores: (M,); of equal scores the first is better. labels: int64 (M,), 0 or more. threshold:
    a box is suppressed if its IoU with a better remaining box is greater. limit: maximum per label. Boxes without area
    are dropped, because their IoU is not defined.

    >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    >>> nms(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 0]), threshold=0.3)
    tensor([1, 2])
    >>> nms(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 1, 1]), threshold=0.3)
    tensor([1, 0, 2])
    """
    order = scores.argsort(descending=True, stable=True).cpu().numpy()
    arrays = boxes.float().cpu().numpy(), labels.cpu().numpy()
    kept = _suppress(*arrays, order, np.float32(threshold), limit or len(order))
    return torch.from_numpy(kept).to(boxes.device)


def vote(boxes: Tensor, weights: Tensor, labels: Tensor, kept: Tensor, threshold: float) -> Tensor:
    """Return the boxes float32 (n, 4) at the indices `kept`, each averaged with the boxes of its label that overlap it
    (box voting: Gidaris and Komodakis 2015, section 5).

    boxes: float32 (M, 4). weights: (M,); boxes of weights up to 0 do not vote. labels: int64 (M,). threshold: IoU from
    which a box votes. A kept box without votes stays.

    >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    >>> vote(boxes, torch.tensor([3.0, 1.0, 1.0]), torch.tensor([0, 0, 0]), torch.tensor([0]), threshold=0.5)
    tensor([[ 0.5000,  0.0000, 10.5000, 10.0000]])
    """
    arrays = (tensor.cpu().numpy() for tensor in (boxes.float(), weights.float(), labels, kept))
    return torch.from_numpy(_average(*arrays, np.float32(threshold))).to(boxes.device)


@compiled(nogil=True)
def _average(boxes, weights, labels, kept, threshold):  # type: ignore[no-untyped-def]
    averages = boxes[kept]
    order = np.argsort(labels, kind="mergesort")  # the voters of a label lie together
    starts = np.searchsorted(labels[order], labels[kept], side="left")
    ends = np.searchsorted(labels[order], labels[kept], side="right")
    for row in range(len(kept)):
        x1, y1, x2, y2 = boxes[kept[row]]
        area = (x2 - x1) * (y2 - y1)
        total, sums = 0.0, np.zeros(4)
        for index in order[starts[row] : ends[row]]:
            weight, other = weights[index], boxes[index]
            width = min(x2, other[2]) - max(x1, other[0])
            height = min(y2, other[3]) - max(y1, other[1])
            if width <= 0 or height <= 0 or not weight > 0:
                continue
            intersection = width * height
            union = area + (other[2] - other[0]) * (other[3] - other[1]) - intersection
            if intersection / union >= threshold:
                total += weight
                for side in range(4):
                    sums[side] += weight * other[side]
        if total > 0:
            for side in range(4):
                averages[row, side] = sums[side] / total
    return averages


@compiled(nogil=True)
def _suppress(boxes, labels, order, threshold, limit):  # type: ignore[no-untyped-def]
    kept = np.empty(len(order), dtype=np.int64)
    # The kept boxes of each label form a linked list through their positions in `kept`.
    last = np.full(labels.max() + 1 if len(labels) else 1, -1)
    before = np.empty(len(order), dtype=np.int64)
    counts = np.zeros(len(last), dtype=np.int64)
    count = 0
    for index in order:
        label = labels[index]
        x1, y1, x2, y2 = boxes[index]
        area = (x2 - x1) * (y2 - y1)
        if counts[label] >= limit or not area > 0:
            continue
        position = last[label]
        while position >= 0:
            other = boxes[kept[position]]
            width = max(min(x2, other[2]) - max(x1, other[0]), np.float32(0))
            height = max(min(y2, other[3]) - max(y1, other[1]), np.float32(0))
            intersection = width * height
            union = area + (other[2] - other[0]) * (other[3] - other[1]) - intersection
            if intersection / union > threshold:
                break
            position = before[position]
        if position < 0:
            kept[count], before[count] = index, last[label]
            last[label] = count
            counts[label] += 1
            count += 1
    return kept[:count].copy()
