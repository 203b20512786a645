"""Non-maximum suppression of all classes in one call."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor, from_numpy


def nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, limit: int | None = None) -> Tensor:
    """Indices int64 of the boxes that remain, best score first, on the device of the boxes.

    A box float32 (M, 4) is suppressed when its IoU with a better remaining one of its label int64 (M,), 0 or more, is
    greater than `threshold`; of equal scores (M,) the first is better. At most `limit` of a label remain. Boxes without
    area are dropped: their IoU is not defined.
    """
    order = scores.argsort(descending=True, stable=True).cpu().numpy()
    kept = _suppress(
        boxes.float().cpu().numpy(), labels.cpu().numpy(), order, np.float32(threshold), limit or len(order)
    )
    return from_numpy(kept).to(boxes.device)


@njit(nogil=True, cache=True)
def _suppress(boxes, labels, order, threshold, limit):  # type: ignore[no-untyped-def]
    kept = np.empty(len(order), dtype=np.int64)
    # The kept boxes of each label as a linked list through their places in `kept`.
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
        place = last[label]
        while place >= 0:
            other = boxes[kept[place]]
            width = max(min(x2, other[2]) - max(x1, other[0]), np.float32(0))
            height = max(min(y2, other[3]) - max(y1, other[1]), np.float32(0))
            shared = width * height
            union = area + (other[2] - other[0]) * (other[3] - other[1]) - shared
            if shared / union > threshold:
                break
            place = before[place]
        if place < 0:
            kept[count], before[count] = index, last[label]
            last[label] = count
            counts[label] += 1
            count += 1
    return kept[:count].copy()
