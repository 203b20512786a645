"""Normalized average precision by object size (Hoiem et al. 2012, section 3; see `sppdet.evaluation.diagnose`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_area
from sppdet.evaluation.matching import Matches
from sppdet.evaluation.voc import Curve, best_from_here, trace_curve
from sppdet.structures import Annotations

SIZES = ("XS", "S", "M", "L", "XL")
BOUNDS = (1, 3, 7, 9)  # tenths of the objects of a class, smallest first, between one size and the next
OBJECTS_PER_IMAGE = 0.15  # the paper's N per image: 742.8 on VOC2007 test, near the mean number of objects per class


@dataclass(frozen=True)
class SizeAP:
    """AP_N on `objects` objects, NaN without objects, and its standard error, NaN for fewer than two objects."""

    objects: int
    ap_n: float
    standard_error: float


def evaluate_sizes(matches: Matches, images: Sequence[Annotations], label: int) -> dict[str, SizeAP]:
    """Compute AP_N of class `label` for "all" of its objects and for each of SIZES, from the result of `match_classes`.

    Normalized precision is P_N = R N / (R N + F) at recall R with F false positives. N is the same for all classes and
    sizes, 0.15 per image, so that sizes with few and with many objects are comparable. AP_N is the mean over objects of
    the best P_N at the recall where the object is detected or beyond, 0 for a missed object; the standard error is that
    of this mean. Difficult objects are left out. For one size, detections of objects of other sizes are ignored, and
    all false positives count.
    """
    normal = OBJECTS_PER_IMAGE * len(images)
    mine = np.concatenate([np.zeros(0, bool), *(((a.labels == label) & ~a.difficult).numpy() for a in images)])
    areas = np.concatenate([np.zeros(0), *(box_area(a.boxes.double()).numpy() for a in images)])
    sizes = np.full(len(mine) + 1, -1)  # of all objects of all images; -1 reads the last entry
    sizes[:-1][mine] = size_classes(areas[mine])
    first = np.cumsum([0, *(len(a.boxes) for a in images)])
    matched = sizes[np.where(matches.objects < 0, -1, first[matches.images] + matches.objects)]

    results = {"all": _size_ap(matches, ~matches.ignored, matches.positives, normal)}
    for k, name in enumerate(SIZES):
        kept = ~matches.ignored & (~matches.correct | (matched == k))
        results[name] = _size_ap(matches, kept, int((sizes == k).sum()), normal)
    return results


def size_classes(areas: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index in SIZES of each object of a class, int64 (M,), from their areas in square pixels.

    The smallest 10% are extra-small, the next 20% small, 40% medium, 20% large, and 10% extra-large, with bounds
    rounded to whole objects. Objects of equal area have the same size, the smaller one.
    """
    ranks = [(tenths * len(areas) + 5) // 10 for tenths in BOUNDS]
    ordered = np.sort(areas)
    limits = [ordered[rank - 1] if rank else -np.inf for rank in ranks]
    return np.searchsorted(limits, areas, side="left")


def normalized_precisions(curve: Curve, normal: float) -> NDArray[np.float64]:
    """Return the normalized precision at which each object is detected, 0 for a missed object: float64 (positives,).

    Its mean is AP_N; if `normal` is the number of positives, this is the AP of VOC2010.
    """
    if not curve.positives:
        return np.zeros(0)
    correct = curve.cumulative_tp * (normal / curve.positives)
    incorrect = np.arange(1, len(correct) + 1) - curve.cumulative_tp
    detected = best_from_here(correct / (correct + incorrect))[curve.correct]
    return np.append(detected, np.zeros(curve.positives - len(detected)))


def _size_ap(matches: Matches, kept: NDArray[np.bool_], objects: int, normal: float) -> SizeAP:
    precisions = normalized_precisions(trace_curve(matches, kept, objects), normal)
    mean = float(precisions.mean()) if objects else float("nan")
    error = float(precisions.std(ddof=1) / np.sqrt(objects)) if objects > 1 else float("nan")
    return SizeAP(objects, mean, error)
