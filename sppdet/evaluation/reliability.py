"""Whether probabilities can be believed: of the detections said to be right with 70%, how many are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sppdet.errors import InputError
from sppdet.evaluation.voc import Curve


@dataclass(frozen=True)
class Bin:
    """The detections with probabilities from `low` on, under `high`: their mean probability, and the share of them
    that is right, both NaN where there are none."""

    low: float
    high: float
    detections: int
    probability: float
    right: float


@dataclass(frozen=True)
class Reliability:
    """Bins of equal width over [0, 1]; the last includes 1."""

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, section 2): how far probabilities and shares lie apart in a
        bin, in the mean over all detections; NaN where there are none. Most detections are improbable, and these
        decide it; the bins say more."""
        filled = [part for part in self.bins if part.detections]
        apart = sum(part.detections * abs(part.probability - part.right) for part in filled)
        total = sum(part.detections for part in filled)
        return apart / total if total else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """The error, and the bins as rows."""
        return {"error": self.error, "bins": [asdict(part) for part in self.bins]}


def measure_reliability(curves: Iterable[Curve], bins: int = 10) -> Reliability:
    """Reliability of the detections of all classes on these curves, whose scores are probabilities.

    Raises InputError for scores outside [0, 1].
    """
    curves = list(curves)
    probability = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    right = np.concatenate([np.zeros(0, dtype=bool), *(curve.right for curve in curves)])
    outside = probability[~((probability >= 0) & (probability <= 1))]
    if len(outside):
        raise InputError("not a probability", field="scores", expected="0..1", got=float(outside[0]))
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], probability, side="right")
    rows = []
    for k in range(bins):
        part = place == k
        means = (float(v[part].mean()) if part.any() else float("nan") for v in (probability, right))
        rows.append(Bin(float(edges[k]), float(edges[k + 1]), int(part.sum()), *means))
    return Reliability(tuple(rows))
