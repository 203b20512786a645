"""Average precision as the PASCAL VOC devkit computes it, with both of its measures.

The devkit counts inclusive integer pixels (width = xmax - xmin + 1); our half-open boxes have the same areas without
the one, so plain intersection over union is the devkit's overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_iou
from sppdet.errors import InputError
from sppdet.structures import Annotations, Detections, check_detections


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class in all images, best score first, and the objects that they match.

    Equal scores keep the order given, image after image. scores: float32 (N,). images, detections: int64 (N,), the
    image of each and its place among that image's detections. objects: int64 (N,), the place among the image's objects
    of the one it matches, -1 for none. correct: bool (N,), the first match of an object that is not difficult. ignored:
    bool (N,), the matches of difficult ones, which count as nothing. All others are wrong.
    positives: the objects to be found, difficult ones left out.
    """

    scores: NDArray[np.float32]
    images: NDArray[np.int64]
    detections: NDArray[np.int64]
    objects: NDArray[np.int64]
    correct: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    positives: int


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class after each detection that counts, best score first.

    Detections matched to difficult objects count as nothing and are not on the curve.
    true_positives: int64 (N,), how many of the first 1..N detections are right. scores: float32 (N,).
    positives: the objects to be found, difficult ones left out.
    """

    true_positives: NDArray[np.int64]
    scores: NDArray[np.float32]
    positives: int

    @property
    def right(self) -> NDArray[np.bool_]:
        """bool (N,), which of the detections are true positives."""
        return np.diff(self.true_positives, prepend=0) > 0

    @property
    def precision(self) -> NDArray[np.float64]:
        """float64 (N,), in [0, 1]."""
        return self.true_positives / np.arange(1, len(self.true_positives) + 1)

    @property
    def recall(self) -> NDArray[np.float64]:
        """float64 (N,), in [0, 1]; NaN for a class without positives."""
        return self.true_positives / (self.positives or np.nan)


@dataclass(frozen=True, eq=False)
class VOCResult:
    """The curve of each class at one IoU threshold; all else follows from them."""

    curves: Mapping[str, Curve]
    iou: float

    @cached_property
    def ap_voc07(self) -> dict[str, float]:
        """VOC2007's 11-point average precision of each class, NaN where it has no positives."""
        return {name: average_precision_voc07(curve) for name, curve in self.curves.items()}

    @cached_property
    def ap_area(self) -> dict[str, float]:
        """VOC2010's average precision (area) of each class, NaN where it has no positives."""
        return {name: average_precision_area(curve) for name, curve in self.curves.items()}

    @property
    def map_voc07(self) -> float:
        """Mean of `ap_voc07` over the classes with positives; NaN where there is none."""
        return mean_over_classes(self.ap_voc07)

    @property
    def map_area(self) -> float:
        """Mean of `ap_area` over the classes with positives; NaN where there is none."""
        return mean_over_classes(self.ap_area)

    def as_dict(self, curves: bool = False) -> dict[str, Any]:
        """The numbers under the names of the JSON output, with the points of the curves where asked."""
        per_class: dict[str, dict[str, Any]] = {}
        for name, curve in self.curves.items():
            row = {"ap_voc07": self.ap_voc07[name], "ap_area": self.ap_area[name], "positives": curve.positives}
            points = {key: getattr(curve, key).tolist() for key in ("precision", "recall", "scores")} if curves else {}
            per_class[name] = row | points
        return {"map_voc07": self.map_voc07, "map_area": self.map_area, "per_class": per_class}


def evaluate_voc(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str], iou: float = 0.5
) -> VOCResult:
    """Precision-recall curves of all classes; `detections[i]` were found in `images[i]`, `classes` names labels 1..K.

    A detection is compared with the object of its class that it overlaps most, difficult and taken ones included
    (the first of equals), and matches it when IoU >= `iou`. The best-scored match of an object is right, later ones are
    wrong, and so is a detection without match. Equal scores keep the order given, image after image.
    Raises InputError for lists of different lengths, labels outside 1..K, and NaN scores.
    """
    check_detections(detections, images, classes)
    check_iou(iou)
    curves = {}
    for label, name in enumerate(classes, start=1):
        matches = match_class(detections, images, label, iou)
        curves[name] = trace_curve(matches, ~matches.ignored, matches.positives)
    return VOCResult(curves, iou)


def match_class(
    detections: Sequence[Detections], images: Sequence[Annotations], label: int, iou: float = 0.5
) -> Matches:
    """Match the detections of class `label` by the rule of `evaluate_voc`, which also checks the arguments."""
    parts = [_match_image(found, image, label, iou) for found, image in zip(detections, images, strict=True)]
    position = _join([np.full(len(places), i) for i, (places, _) in enumerate(parts)], int)
    place, matched = (_join([part[k] for part in parts], int) for k in (0, 1))
    scores = _join([found.scores[places] for found, (places, _) in zip(detections, parts, strict=True)], np.float32)
    order = np.argsort(-scores, kind="stable")
    scores, position, place, matched = scores[order], position[order], place[order], matched[order]

    labels, difficult = _join([a.labels for a in images], int), _join([a.difficult for a in images], bool)
    first_objects = np.cumsum([0, *(len(image.boxes) for image in images)])
    number = np.where(matched < 0, -1, first_objects[position] + matched)  # counted over all images
    ignored = np.append(difficult, False)[number]  # the appended entry is what -1 reads
    objects, first = np.unique(number, return_index=True)
    correct = np.zeros(len(number), dtype=bool)
    correct[first[objects >= 0]] = True
    positives = int(((labels == label) & ~difficult).sum())
    return Matches(scores, position, place, matched, correct & ~ignored, ignored, positives)


def trace_curve(matches: Matches, kept: NDArray[np.bool_], positives: int) -> Curve:
    """The curve of only the detections `kept`, bool (N,), where `positives` objects are to be found."""
    return Curve(np.cumsum(matches.correct[kept]), matches.scores[kept], positives)


def average_precision_voc07(curve: Curve) -> float:
    """Mean over recalls 0, 0.1 ... 1 of the best precision at that recall or beyond (VOC2007); NaN without positives.

    Recall is compared as the fraction it is, since 3 of 10 must reach 0.3 and 3 * 0.1 is greater than 0.3 in floats.
    """
    if not curve.positives:
        return float("nan")
    precision = curve.precision
    reached = (precision[10 * curve.true_positives >= k * curve.positives] for k in range(11))
    return sum(float(part.max(initial=0)) for part in reached) / 11


def average_precision_area(curve: Curve) -> float:
    """Area under the curve with precision made monotone from the right (VOC2010 and later); NaN without positives."""
    if not curve.positives:
        return float("nan")
    envelope = monotone_precision(curve)
    # Recall grows by 1 / positives at every right detection and stands still at the wrong ones.
    return float(envelope[curve.right].sum() / curve.positives)


def monotone_precision(curve: Curve) -> NDArray[np.float64]:
    """The best precision at each recall or beyond, float64 (N,)."""
    return np.maximum.accumulate(curve.precision[::-1])[::-1]


def mean_over_classes(values: Mapping[str, float]) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    present = [value for value in values.values() if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")


def _match_image(
    found: Detections, image: Annotations, label: int, iou: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of the detections of the class, int64 (N,), and those of the objects they match, -1 for none."""
    places = np.flatnonzero(found.labels.cpu().numpy() == label)
    objects = np.flatnonzero(image.labels.numpy() == label)
    if not len(places) or not len(objects):
        return places, np.full(len(places), -1)
    # In float32 an IoU of exactly the threshold could fall below it.
    overlaps = box_iou(found.boxes[places].cpu().double(), image.boxes[objects].double()).numpy()  # (N, M)
    return places, np.where(overlaps.max(axis=1) >= iou, objects[overlaps.argmax(axis=1)], -1)


def _join(parts: Sequence[Any], dtype: type) -> NDArray[Any]:
    """Arrays or tensors (N,) in one row; also where there is none."""
    arrays = [part.cpu().numpy() if hasattr(part, "cpu") else part for part in parts]
    return np.concatenate([np.zeros(0, dtype), *arrays])


def check_iou(iou: float) -> None:
    """Raise InputError unless this threshold of intersection over union lies in (0, 1]."""
    if not 0 < iou <= 1:
        raise InputError("out of range", field="iou", expected="0 < iou <= 1", got=iou)
