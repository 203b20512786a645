"""Average precision as computed by the PASCAL VOC devkit, in both of its versions.

The devkit counts inclusive integer pixels (width = xmax - xmin + 1). Half-open boxes have the same areas without the
"+ 1", so their intersection over union is the devkit's overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.evaluation.matching import Matches, check_iou, match_classes
from sppdet.structures import Annotations, Detections, check_detections


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class after each detection, best score first.

    Detections matched to difficult objects are not on the curve.
    cumulative_tp: int64 (N,), number of correct detections among the first 1..N. scores: float32 (N,).
    positives: number of objects that are not difficult.
    """

    cumulative_tp: NDArray[np.int64]
    scores: NDArray[np.float32]
    positives: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool (N,), True for true positives."""
        return np.diff(self.cumulative_tp, prepend=0) > 0

    @property
    def precision(self) -> NDArray[np.float64]:
        """float64 (N,), in [0, 1]."""
        return self.cumulative_tp / np.arange(1, len(self.cumulative_tp) + 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """float64 (N,), in [0, 1]; NaN for a class without positives."""
        return self.cumulative_tp / (self.positives or np.nan)


@dataclass(frozen=True, eq=False)
class VOCResult:
    """The precision-recall curve of each class at one IoU threshold, from which all other numbers follow."""

    curves: Mapping[str, Curve]
    iou: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of labels 1..K."""
        return tuple(self.curves)

    @cached_property
    def ap_voc07(self) -> NDArray[np.float64]:
        """float64 (K,), VOC2007's 11-point average precision of each class; NaN for a class without positives."""
        return np.array([average_precision_voc07(curve) for curve in self.curves.values()], dtype=np.float64)

    @cached_property
    def ap_area(self) -> NDArray[np.float64]:
        """float64 (K,), VOC2010's average precision (area) of each class; NaN for a class without positives."""
        return np.array([average_precision_area(curve) for curve in self.curves.values()], dtype=np.float64)

    @property
    def map_voc07(self) -> float:
        """Mean of `ap_voc07` over the classes with positives; NaN if there are none."""
        return mean_over_classes(self.ap_voc07)

    @property
    def map_area(self) -> float:
        """Mean of `ap_area` over the classes with positives; NaN if there are none."""
        return mean_over_classes(self.ap_area)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers under the names of the JSON output."""
        return {"map_voc07": self.map_voc07, "map_area": self.map_area, "per_class": dict(self.rows())}

    def rows(self, curves: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and numbers of each class under the names of the JSON output; on request its curve's points."""
        aps = zip(self.ap_voc07.tolist(), self.ap_area.tolist(), strict=True)
        keys = ("precision", "recall", "scores") if curves else ()
        for (name, curve), (voc07, area) in zip(self.curves.items(), aps, strict=True):
            row = {"ap_voc07": voc07, "ap_area": area, "positives": curve.positives}
            yield name, row | {key: getattr(curve, key).tolist() for key in keys}


def evaluate_voc(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str], iou: float = 0.5
) -> VOCResult:
    """Compute precision-recall curves; `detections[i]` were made in `images[i]`, `classes` names labels 1..K.

    A detection is compared with the object of its class that it overlaps most, including difficult and matched objects
    (the first of equals), and matches it if IoU >= `iou`. The match with the highest score is correct; further matches
    of the object, and detections without a match, are incorrect. Equal scores keep the order given, image after image.
    Raises InputError for lists of different lengths, labels outside 1..K, and NaN scores.
    """
    check_detections(detections, images, classes)
    check_iou(iou)
    matches = zip(classes, match_classes(detections, images, len(classes), iou), strict=True)
    return VOCResult({name: trace_curve(one, ~one.ignored, one.positives) for name, one in matches}, iou)


def trace_curve(matches: Matches, kept: NDArray[np.bool_], positives: int) -> Curve:
    """Return the curve of the detections `kept`, bool (N,), for this number of positives."""
    return Curve(np.cumsum(matches.correct[kept]), matches.scores[kept], positives)


def average_precision_voc07(curve: Curve) -> float:
    """Average over recalls 0, 0.1 ... 1 the best precision at that recall or beyond (VOC2007); NaN without positives.

    Recalls are compared as exact fractions: 3 of 10 must reach 0.3, but 3 * 0.1 is greater than 0.3 in floats.
    """
    if not curve.positives:
        return float("nan")
    precision = curve.precision
    reached = (precision[10 * curve.cumulative_tp >= k * curve.positives] for k in range(11))
    return sum(float(part.max(initial=0)) for part in reached) / 11


def average_precision_area(curve: Curve) -> float:
    """Return the area under the curve of `best_from_here` (VOC2010 and later); NaN without positives."""
    if not curve.positives:
        return float("nan")
    # Recall grows by 1 / positives at every correct detection only.
    return float(best_from_here(curve.precision)[curve.correct].sum() / curve.positives)


def best_from_here(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best precision at each recall or beyond, float64 (N,)."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def mean_over_classes(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    present = [value for value in values if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")
