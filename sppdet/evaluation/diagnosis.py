"""The diagnosis of a detector: numbers, tables and JSON (see `sppdet.evaluation.diagnose`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.drawing.tables import align
from sppdet.evaluation.sizes import SIZES, SizeAP
from sppdet.evaluation.voc import mean_over_classes

KINDS = ("localisation", "similar", "other", "background")
OUTCOMES = ("correct", *KINDS)
REMOVED = {f"without_{kind}": (kind,) for kind in KINDS} | {"without_other_and_background": ("other", "background")}
APS = ("as_is", "localisation_corrected", *REMOVED)
MULTIPLES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # of the number of objects: detections in the points of the trend
GAINS = {
    "localisation": "without_localisation",
    "corrected": "localisation_corrected",
    **{kind: f"without_{kind}" for kind in KINDS[1:]},
    "other+background": "without_other_and_background",
}

NOTES = """corrected: as if badly placed boxes were placed correctly.
AP_N: AP as if all classes and sizes had the same number of objects; ±: its standard error.
XS, S, M, L, XL: the smallest tenth of a class's objects, the next 2, 4 and 2 tenths, the largest tenth."""


@dataclass(frozen=True, eq=False)
class ClassDiagnosis:
    """The errors of one class. Fractions in [0, 1]; NaN without objects.

    outcomes: int64 (N,), index in OUTCOMES of each detection, best score first, without matches of difficult objects.
    positives: number of objects that are not difficult. ap: AP by the names in APS, as it is and with errors of a kind
    removed or corrected. sizes: AP_N of "all" objects and by size.
    """

    outcomes: NDArray[np.int64]
    positives: int
    ap: Mapping[str, float]
    sizes: Mapping[str, SizeAP]

    def counts(self, multiple: float = 1) -> dict[str, int]:
        """Count the outcomes of the best `multiple` · positives detections, rounded up, by the names in OUTCOMES.

        With 1 these are the paper's top-ranked detections, all of which a perfect detector would have correct.
        """
        numbers = np.bincount(self.outcomes[: ceil(multiple * self.positives)], minlength=len(OUTCOMES))
        return dict(zip(OUTCOMES, numbers.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers under the names of the JSON output."""
        return {
            "positives": self.positives,
            "top": self.counts(),
            "trend": [{"multiple": multiple, **self.counts(multiple)} for multiple in MULTIPLES],
            "ap": dict(self.ap),
            "sizes": {name: asdict(size) for name, size in self.sizes.items()},
        }


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The errors of each class, from which all other numbers follow. folder: where they are written, if anywhere."""

    classes: Mapping[str, ClassDiagnosis]
    folder: Path | None = None

    def fractions(self, multiple: float = 1) -> dict[str, float]:
        """Return the fraction of each outcome among the detections of `counts`, averaged over classes; NaN without
        detections."""
        counts = [list(diagnosis.counts(multiple).values()) for diagnosis in self.classes.values()]
        fractions = [np.divide(count, sum(count)) for count in counts if sum(count)]
        means = np.mean(fractions, axis=0) if fractions else np.full(len(OUTCOMES), np.nan)
        return dict(zip(OUTCOMES, means.tolist(), strict=True))

    @property
    def ap(self) -> dict[str, float]:
        """Means over the classes with positives, by APS."""
        return {key: mean_over_classes(part.ap[key] for part in self.classes.values()) for key in APS}

    @property
    def ap_n(self) -> dict[str, float]:
        """Means over the classes with objects of the size, by SIZES and "all"."""
        return {
            size: mean_over_classes(part.sizes[size].ap_n for part in self.classes.values()) for size in ("all", *SIZES)
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers under the names of the JSON output: counts and AP of each class, mean fractions and AP."""
        trend = [{"multiple": multiple, **self.fractions(multiple)} for multiple in MULTIPLES]
        mean = {"top": self.fractions(), "trend": trend, "ap": self.ap, "ap_n": self.ap_n}
        return {"mean": mean, "per_class": {name: part.as_dict() for name, part in self.classes.items()}}

    def __str__(self) -> str:
        """Format three tables, with a row for each class and one for the mean: the outcomes of the top detections, the
        gains in AP, and AP_N.

        Percent; "-" without objects or detections. ± is a standard error.
        """
        parts = self.classes
        outcomes = {name: part.counts() for name, part in parts.items()}
        totals = {name: sum(row.values()) or float("nan") for name, row in outcomes.items()}
        tops = [
            [name, str(parts[name].positives), *(_percent(n / totals[name]) for n in row.values())]
            for name, row in outcomes.items()
        ]
        tops.append(["mean", "", *map(_percent, self.fractions().values())])
        gains = [[name, *_gains(part.ap)] for name, part in parts.items()] + [["mean", *_gains(self.ap)]]
        sizes = [
            [name, *(_percent(size.ap_n) + _error(size.standard_error) for size in part.sizes.values())]
            for name, part in parts.items()
        ]
        sizes.append(["mean", *(_percent(value) + _error(float("nan")) for value in self.ap_n.values())])
        return "\n\n".join(
            [
                align([["top detections, %", "objects", *OUTCOMES], *tops]),
                align([["AP, and without errors", "AP", *GAINS], *gains]),
                align([["AP_N by size", "all", *SIZES], *sizes]),
                NOTES + (f"\nwritten to {self.folder}" if self.folder else ""),
            ]
        )


def _gains(ap: Mapping[str, float]) -> list[str]:
    gains = [100 * (ap[key] - ap["as_is"]) for key in GAINS.values()]
    return [_percent(ap["as_is"]), *("-" if isnan(gain) else f"{gain:+.1f}" for gain in gains)]


def _percent(fraction: float) -> str:
    return "-" if isnan(fraction) else f"{100 * fraction:.1f}"


def _error(fraction: float) -> str:
    return " " * 6 if isnan(fraction) else f" ±{100 * fraction:4.1f}"
