"""The evaluation of a set of detections, with all measures of this package."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sppdet.drawing.tables import align, percent, points
from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import RESAMPLES, BootstrapMAP, bootstrap_map
from sppdet.evaluation.coco import evaluate_coco
from sppdet.evaluation.voc import Curve, VOCResult, evaluate_voc
from sppdet.structures import Dataset, Detections
from sppdet.wording import counted


@dataclass(frozen=True)
class Bin:
    """Detections with a probability in [low, high): number, mean probability, fraction correct (NaN for none)."""

    low: float
    high: float
    detections: int
    probability: float
    correct: float


@dataclass(frozen=True)
class Reliability:
    """Reliability of calibrated scores: of the detections given a probability of 70%, how many are correct?

    bins: of equal width over [0, 1]; the last includes 1.
    """

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, section 2): the gap between `probability` and `correct` of a
        bin, averaged over all detections; NaN if there are none. Improbable detections, the majority, dominate it."""
        gap = sum(part.detections * abs(part.probability - part.correct) for part in self.bins if part.detections)
        total = sum(part.detections for part in self.bins)
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


@dataclass(frozen=True, eq=False)
class Evaluation:
    """VOC and COCO average precision of detections; fractions.

    voc: precision-recall curves and AP of each class at IoU 0.5. placed: the same at IoU 0.7, where boxes must lie
    closely. bootstrap: the mAPs of `voc` with their confidence intervals.
    coco: COCO's twelve numbers by name. images: number of images. reliability: None unless scores are probabilities.
    others: mAPs of the detectors that this one is compared with, by name.
    ranks, truncated: ranks of the truncated fully connected layers and the result with them, if any.
    proposals: file of proposals made by another program, if any. folder: where the results are written, if anywhere.
    trained_on: by run, the number of these images that it was trained on, if any.
    """

    voc: VOCResult
    bootstrap: BootstrapMAP
    coco: dict[str, float]
    placed: VOCResult
    images: int
    reliability: Reliability | None = None
    others: Mapping[str, BootstrapMAP] = field(default_factory=dict)
    ranks: list[int] | None = None
    truncated: VOCResult | None = None
    proposals: str | None = None
    folder: Path | None = None
    trained_on: Mapping[str, int] = field(default_factory=dict)

    @property
    def map_voc07(self) -> float:
        """VOC2007's 11-point mAP; NaN without objects."""
        return self.voc.map_voc07

    @property
    def map_area(self) -> float:
        """VOC2010's mAP (area under the curve); NaN without objects."""
        return self.voc.map_area

    def as_dict(self) -> dict[str, Any]:
        numbers = self.bootstrap.as_dict() | self.voc.as_dict() | {"coco": self.coco, "images": self.images}
        numbers["iou70"] = {"map_voc07": self.placed.map_voc07, "map_area": self.placed.map_area}
        if self.reliability:
            numbers["reliability"] = self.reliability.as_dict()
        if self.others:
            best, difference = self._to_best()
            single = {name: maps.as_dict() for name, maps in self.others.items()}
            several = len(single) > 1
            numbers |= {"single": single} if several else {"against": {"name": best, **single[best]}}
            numbers["difference"] = ({"best": best} if several else {}) | difference.as_dict()
        if self.truncated:
            maps = {"map_voc07": self.truncated.map_voc07, "map_area": self.truncated.map_area}
            numbers["svd"] = {"ranks": self.ranks, **maps, "change_voc07": maps["map_voc07"] - self.map_voc07}
        if self.proposals:
            numbers["proposals"] = self.proposals
        if self.trained_on:
            numbers["trained_on"] = dict(self.trained_on)
        return numbers

    def __str__(self) -> str:
        aps = zip(self.voc.ap_voc07.tolist(), self.voc.ap_area.tolist(), strict=True)
        rows = [["AP", "voc07", "area"]]
        rows += [[name, *map(percent, pair)] for name, pair in zip(self.voc.classes, aps, strict=True)]
        rows += _map_rows("mAP", self.bootstrap)
        rows.append(["mAP at IoU 0.7", percent(self.placed.map_voc07), percent(self.placed.map_area)])
        for name, maps in self.others.items():
            rows += _map_rows(f"mAP of {name}", maps)
        if self.others:
            to = " to the best" if len(self.others) > 1 else ""
            rows += _map_rows(f"difference{to}, points", self._to_best()[1], signed=True)
        if self.truncated:
            rows.append([f"mAP, SVD {self.ranks}", percent(self.truncated.map_voc07), percent(self.truncated.map_area)])
            changes = (self.truncated.map_voc07 - self.map_voc07, self.truncated.map_area - self.map_area)
            rows.append(["change, points", *(points(change, "+.2f") for change in changes)])
        coco = ", ".join(f"{name} {percent(self.coco[name])}" for name in ("AP", "AP50", "AP75"))
        notes = [f"COCO {coco}; {counted(self.images, 'image')}"]
        if resamples := len(self.bootstrap.resampled_voc07):
            notes[0] += f"; 95% of {resamples} resamples"
        notes += [str(self.reliability)] if self.reliability else []
        notes += [f"written to {self.folder}"] if self.folder else []
        seen = [
            f"{run}: {n} of these {counted(self.images, 'image')} were trained on" for run, n in self.trained_on.items()
        ]
        return "\n".join([*seen, align(rows), *notes])

    def _to_best(self) -> tuple[str, BootstrapMAP]:
        """Return the name of the best of `others`, and the difference to its mAPs."""
        best = max(self.others, key=lambda name: self.others[name].map_voc07)
        return best, self.bootstrap.minus(self.others[best])


def evaluate_detections(
    detections: Sequence[Detections],
    dataset: Dataset,
    resamples: int = RESAMPLES,
    probabilities: bool = False,
    others: Mapping[str, Sequence[Detections]] | None = None,
) -> Evaluation:
    """Evaluate detections: VOC and COCO average precision; `detections[i]` were made in image i of `dataset`.

    resamples: number of resamples for 95% confidence intervals. probabilities: measure the reliability of scores that
    are probabilities of being correct. others: detections to compare with, by the names of their detectors. Raises
    InputError as `evaluate_voc` and `measure_reliability` do.
    """
    images, classes = dataset.images, dataset.classes
    coco = evaluate_coco(detections, images, classes)  # first, as it needs most memory
    voc = evaluate_voc(detections, images, classes)
    bootstrap = bootstrap_map(detections, images, classes, resamples)
    placed = evaluate_voc(detections, images, classes, 0.7)
    reliability = measure_reliability(voc.curves.values()) if probabilities else None
    maps = {name: bootstrap_map(other, images, classes, resamples) for name, other in (others or {}).items()}
    return Evaluation(voc, bootstrap, coco, placed, len(dataset), reliability, maps)


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


def _map_rows(name: str, maps: BootstrapMAP, signed: bool = False) -> list[list[str]]:
    """Return a table row of both mAPs, or of their differences in points, and one of their confidence intervals."""
    values = (maps.map_voc07, maps.map_area)
    rows = [[name, *(points(value, "+.2f") if signed else percent(value) for value in values)]]
    if len(maps.resampled_voc07):
        ends = (maps.interval_voc07, maps.interval_area)
        sign = "+" if signed else ""
        rows.append(["  95% interval", *(f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}" for low, high in ends)])
    return rows
