"""Normalized average precision by object size (Hoiem et al. 2012, section 3; see `sppdet.evaluation.diagnose`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_area
from sppdet.evaluation.voc import Curve, Matches, trace_curve
from sppdet.structures import Annotations

SIZES = ("XS", "S", "M", "L", "XL")
BOUNDS = (1, 3, 7, 9)  # tenths of a class's objects, smallest first, at which one size ends and the next begins
OBJECTS_PER_IMAGE = 0.15  # the paper's N over the images: 742.8 on VOC2007 test, near the mean of its classes' objects


@dataclass(frozen=True)
class SizeAP:
    """AP_N on `objects` objects, NaN where there are none, and its standard error, NaN for fewer than two."""

    objects: int
    ap_n: float
    standard_error: float


def evaluate_sizes(matches: Matches, images: Sequence[Annotations], label: int) -> dict[str, SizeAP]:
    """AP_N of class `label` on "all" of its objects and on those of each of SIZES, from what `match_class` gave.

    Normalized precision is P_N = R N / (R N + F) at recall R with F false positives. Its N is the same for all classes
    and sizes, 0.15 times the images, so that the few of one size compare with the many of another. AP_N is the mean
    over the objects of the best P_N at the recall where each is found or beyond, 0 for those missed; the standard error
    is that of this mean.
    Difficult objects are left out. On one size, detections of the other sizes' objects count as nothing, and all false
    positives count.
    """
    normal = OBJECTS_PER_IMAGE * len(images)
    mine = np.concatenate([np.zeros(0, bool), *(((a.labels == label) & ~a.difficult).numpy() for a in images)])
    areas = np.concatenate([np.zeros(0), *(box_area(a.boxes.double()).numpy() for a in images)])
    sizes = np.full(len(mine) + 1, -1)  # of all objects of all images; the last entry is what -1 reads
    sizes[:-1][mine] = size_classes(areas[mine])
    first = np.cumsum([0, *(len(a.boxes) for a in images)])
    found = sizes[np.where(matches.objects < 0, -1, first[matches.images] + matches.objects)]

    results = {"all": _size_ap(matches, ~matches.ignored, matches.positives, normal)}
    for k, name in enumerate(SIZES):
        kept = ~matches.ignored & (~matches.correct | (found == k))
        results[name] = _size_ap(matches, kept, int((sizes == k).sum()), normal)
    return results


def size_classes(areas: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index in SIZES of each object of a class, int64 (M,), from the areas of all, in square pixels.

    The smallest 10% are extra-small, the next 20% small, 40% medium, 20% large, and 10% extra-large, each bound rounded
    to whole objects. Objects of equal area are of one size, the smaller.
    """
    ranks = [(tenths * len(areas) + 5) // 10 for tenths in BOUNDS]
    ordered = np.sort(areas)
    limits = [ordered[rank - 1] if rank else -np.inf for rank in ranks]
    return np.searchsorted(limits, areas, side="left")


def normalized_precisions(curve: Curve, normal: float) -> NDArray[np.float64]:
    """The normalized precision at which each object is found, 0 for those missed: float64 (positives,).

    The mean is AP_N; where `normal` is the number of positives, it is the AP of VOC2010.
    """
    if not curve.positives:
        return np.zeros(0)
    right = curve.cumulative_tp * (normal / curve.positives)
    wrong = np.arange(1, len(right) + 1) - curve.cumulative_tp
    envelope = np.maximum.accumulate((right / (right + wrong))[::-1])[::-1]
    found = envelope[curve.correct]
    return np.append(found, np.zeros(curve.positives - len(found)))


def _size_ap(matches: Matches, kept: NDArray[np.bool_], objects: int, normal: float) -> SizeAP:
    precisions = normalized_precisions(trace_curve(matches, kept, objects), normal)
    mean = float(precisions.mean()) if objects else float("nan")
    error = float(precisions.std(ddof=1) / np.sqrt(objects)) if objects > 1 else float("nan")
    return SizeAP(objects, mean, error)
