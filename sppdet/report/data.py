"""The content of a report: evaluated runs, and the images they were evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.evaluation.confusion import confusion_matrix
from sppdet.evaluation.diagnose import Diagnosis, diagnose
from sppdet.evaluation.doubts import Doubt, find_doubts
from sppdet.evaluation.evaluation import Reliability, measure_reliability
from sppdet.evaluation.matching import Matches, match_classes
from sppdet.evaluation.voc import Curve, trace_curve
from sppdet.images import read_size
from sppdet.structures import Annotations, Dataset, Detections

CONFIDENT = 0.5  # probability of a detection that may contradict a label
LISTED = 1000  # doubts in the JSON


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A run, and its detections in each image of the data.

    name: last part of its path. evaluation: content of evaluation.json. detections: as `sppdet evaluate` wrote them.
    shown: per image the float32 (N,) scores to show: probabilities, if `probabilities`. thresholds: float32 (K,), the
    shown scores from which detections are worth drawing. config, held_out: content of config.json and val.json, None
    if the run has none. readme: text of README.md, "" if there is none. commands: command lines, from data to report.
    """

    name: str
    evaluation: Mapping[str, Any]
    dataset: Dataset
    detections: Sequence[Detections]
    shown: Sequence[Tensor]
    probabilities: bool
    thresholds: Tensor
    config: Mapping[str, Any] | None = None
    held_out: Mapping[str, Any] | None = None
    readme: str = ""
    commands: Sequence[str] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @cached_property
    def matches(self) -> list[Matches]:
        """Matches of each class at IoU 0.5."""
        return list(match_classes(self.detections, self.dataset.images, len(self.classes)))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Curves of the classes by name, as in curves.json, with the shown scores."""
        curves = {}
        for name, one in zip(self.classes, self.matches, strict=True):
            curve = trace_curve(one, ~one.ignored, one.positives)
            curves[name] = Curve(curve.cumulative_tp, self.scores_of(one)[~one.ignored], one.positives)
        return curves

    def scores_of(self, matches: Matches) -> NDArray[np.float32]:
        """Return the shown score of each match."""
        pairs = zip(matches.images.tolist(), matches.detections.tolist(), strict=True)
        return np.array([self._shown[i][d] for i, d in pairs], dtype=np.float32)

    @cached_property
    def _shown(self) -> list[list[float]]:
        return [scores.tolist() for scores in self.shown]

    @cached_property
    def kept(self) -> list[Tensor]:
        """bool (N,) of each image: detections that reach the threshold of their class."""
        pairs = zip(self.detections, self.shown, strict=True)
        return [scores >= self.thresholds[found.labels - 1] for found, scores in pairs]

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return diagnose(self.detections, self.dataset.images, self.classes)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix of the detections kept."""
        kept = [found[mask] for found, mask in zip(self.detections, self.kept, strict=True)]
        return confusion_matrix(kept, self.dataset.images, self.classes)

    @cached_property
    def reliability(self) -> Reliability | None:
        """Reliability of the probabilities; None if the scores are none."""
        return measure_reliability(self.curves.values()) if self.probabilities else None

    @cached_property
    def doubts(self) -> list[tuple[Doubt, Tensor, int, float]]:
        """Labels that confident detections contradict, the most confident first: with box, label and shown score."""
        parts = []
        for found, scores, kept in zip(self.detections, self.shown, self.kept, strict=True):
            sure = kept & (scores >= CONFIDENT) if self.probabilities else kept
            parts.append(Detections(found.boxes[sure], found.labels[sure], scores[sure]))
        doubts = find_doubts(parts, self.dataset.images, self.classes)
        rows = [(doubt, *list(parts[doubt.image])[doubt.detection]) for doubt in doubts]
        return sorted(rows, key=lambda row: -row[3])

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers under the names of the JSON output."""
        reliability = self.evaluation.get("reliability") or (self.reliability and self.reliability.as_dict())
        return {
            "name": self.name,
            "evaluation": dict(self.evaluation),
            "diagnosis": self.diagnosis.as_dict(),
            "confusion": self.confusion.tolist(),
            "reliability": reliability,
            "probabilities": self.probabilities,
            "thresholds": self.thresholds.tolist(),
            "doubts": [
                {"kind": doubt.kind, "image": str(self.dataset.images[doubt.image].id), "object": doubt.object}
                | {"class": self.classes[label - 1], "score": score, "box": box.tolist(), "iou": doubt.iou}
                for doubt, box, label, score in self.doubts[:LISTED]
            ],
            "config": self.config,
            "held_out": self.held_out,
        }


@dataclass(frozen=True, eq=False)
class ReportData:
    """Runs evaluated on the same images. comparison: content of compare.json, if their times were compared."""

    runs: Sequence[EvaluatedRun]
    dataset: Dataset
    comparison: Mapping[str, Any] | None = None

    @cached_property
    def objects(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (N, 4) of all images of known size, and width and height of the image of each (N, 2)."""
        boxes, sizes = [np.zeros((0, 4))], [np.zeros((0, 2))]
        for image in self.dataset.images:
            if len(image.boxes) and (size := size_of(image)):
                boxes.append(image.boxes.double().numpy())
                sizes.append(np.tile(np.array(size, float), (len(image.boxes), 1)))
        return np.concatenate(boxes), np.concatenate(sizes)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of objects of each class, those in images that cannot be read included."""
        labels = torch.cat([torch.zeros(0, dtype=torch.int64), *(image.labels for image in self.dataset.images)])
        counts = torch.bincount(labels, minlength=len(self.dataset.classes) + 1)[1:]
        return dict(zip(self.dataset.classes, counts.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return what the report says as JSON."""
        return {
            "data": self.dataset.name,
            "images": len(self.dataset),
            "classes": list(self.dataset.classes),
            "boxes": self.counts,
            "runs": [run.as_dict() for run in self.runs],
            "comparison": self.comparison,
        }


def size_of(image: Annotations) -> tuple[int, int] | None:
    """Return (width, height) of an image, None if its file cannot be read."""
    if isinstance(image.image, torch.Tensor):
        return image.image.shape[2], image.image.shape[1]
    return read_size(image.image)
