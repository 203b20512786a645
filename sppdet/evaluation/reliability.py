"""Reliability of calibrated scores: of the detections given a probability of 70%, how many are correct?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sppdet.drawing.tables import align, percent
from sppdet.errors import InputError
from sppdet.evaluation.voc import Curve


@dataclass(frozen=True)
class Bin:
    """Detections with a probability in [low, high).

    detections: their number. probability: their mean probability. correct: fraction of them that are correct; both NaN
    if there are none.
    """

    low: float
    high: float
    detections: int
    probability: float
    correct: float


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width over [0, 1]; the last includes 1."""

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, section 2): the gap between `probability` and `correct` of a
        bin, averaged over all detections; NaN if there are none. Improbable detections, the majority, dominate it."""
        filled = [part for part in self.bins if part.detections]
        gap = sum(part.detections * abs(part.probability - part.correct) for part in filled)
        total = sum(part.detections for part in filled)
        return gap / total if total else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return the error and the bins as rows, under the names of the JSON output."""
        return {"error": self.error, "bins": [asdict(part) for part in self.bins]}

    def __str__(self) -> str:
        rows = [
            [f"{one.low:.1f} to {one.high:.1f}", percent(one.probability), percent(one.correct), str(one.detections)]
            for one in self.bins
        ]
        return align([["probability", "mean", "correct", "detections"], *rows])


def measure_reliability(curves: Iterable[Curve], bins: int = 10) -> Reliability:
    """Measure the reliability of detections whose scores are probabilities, on the curves of all classes.

    Raises InputError for scores outside [0, 1].
    """
    curves = list(curves)
    probability = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    correct = np.concatenate([np.zeros(0, dtype=bool), *(curve.correct for curve in curves)])
    outside = probability[~((probability >= 0) & (probability <= 1))]
    if len(outside):
        raise InputError("not a probability", field="scores", expected="0..1", got=float(outside[0]))
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], probability, side="right")
    rows = []
    for k in range(bins):
        part = place == k
        means = (float(v[part].mean()) if part.any() else float("nan") for v in (probability, correct))
        rows.append(Bin(float(edges[k]), float(edges[k + 1]), int(part.sum()), *means))
    return Reliability(tuple(rows))
