"""Diagnosis of a detector's errors: false positives by kind, and average precision by object size.

After Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors" (ECCV 2012), on the matches of `evaluate_voc`
at IoU 0.5. AP is the area under the curve (VOC2010), as in the authors' code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_iou
from sppdet.data.formats.voc import VOC_CLASSES
from sppdet.drawing.tables import align, points
from sppdet.errors import InputError
from sppdet.evaluation.matching import Matches, match_classes
from sppdet.evaluation.sizes import SIZES, SizeAP, evaluate_sizes
from sppdet.evaluation.voc import average_precision_area, mean_over_classes, trace_curve
from sppdet.structures import Annotations, Detections, check_detections

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

LOOSE_IOU = 0.1  # detections that overlap no object by this much are background

# Two classes are similar when both are in one of these sets (section 2). Bottles, plants and monitors are in none.
VOC_SIMILAR = (
    ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    ("bird", "cat", "cow", "dog", "horse", "person", "sheep"),
    ("chair", "diningtable", "sofa"),
    ("aeroplane", "bird"),
)


@dataclass(frozen=True, eq=False)
class ClassDiagnosis:
    """The errors of one class; fractions, NaN without objects.

    outcomes: int64 (N,), index in OUTCOMES of each detection, best score first, without matches of difficult objects.
    positives: number of objects that are not difficult. ap: by APS, as it is and with errors of a kind removed or
    corrected. sizes: AP_N of "all" objects and by size.
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
        """Return the fractions of the outcomes in `counts`, averaged over classes; NaN without detections."""
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
        parts = self.classes.values()
        return {size: mean_over_classes(part.sizes[size].ap_n for part in parts) for size in ("all", *SIZES)}

    def as_dict(self) -> dict[str, Any]:
        trend = [{"multiple": multiple, **self.fractions(multiple)} for multiple in MULTIPLES]
        mean = {"top": self.fractions(), "trend": trend, "ap": self.ap, "ap_n": self.ap_n}
        return {"mean": mean, "per_class": {name: part.as_dict() for name, part in self.classes.items()}}

    def __str__(self) -> str:
        tops = [["top detections, %", "objects", *OUTCOMES]]
        gains = [["AP, and without errors", "AP", *GAINS]]
        sizes = [["AP_N by size", "all", *SIZES]]
        for name, part in self.classes.items():
            outcomes = part.counts().values()
            total = sum(outcomes) or float("nan")
            tops.append([name, str(part.positives), *(points(count / total) for count in outcomes)])
            gains.append([name, *_gains(part.ap)])
            sizes.append([name, *(points(size.ap_n) + _error(size.standard_error) for size in part.sizes.values())])
        tops.append(["mean", "", *map(points, self.fractions().values())])
        gains.append(["mean", *_gains(self.ap)])
        sizes.append(["mean", *(points(value) + _error(float("nan")) for value in self.ap_n.values())])
        folder = f"\nwritten to {self.folder}" if self.folder else ""
        return "\n\n".join([align(tops), align(gains), align(sizes), NOTES + folder])


def diagnose(
    detections: Sequence[Detections],
    images: Sequence[Annotations],
    classes: Sequence[str],
    similar: Sequence[Sequence[str]] | None = None,
) -> Diagnosis:
    """Diagnose detections; `detections[i]` were made in `images[i]`, `classes` names labels 1..K.

    The kind of a false positive is the first that applies (section 2): localisation, if its IoU with an object of its
    class is at least 0.1, as it is for a second detection of an object; similar, if its IoU with an object of a similar
    class is at least 0.1; other, if its IoU with any object is; else background. Difficult objects are included.
    similar: sets of names of similar classes; by default VOC_SIMILAR if all classes are VOC's, else none.
    Localisation is corrected by matching at IoU 0.1 and removing further detections of an object. The paper's bars are
    the removal of localisation errors and this correction (both L), the removal of similar (S), and the removal of
    other and background together (B).
    Raises InputError for lists of different lengths, labels outside 1..K, NaN scores, and unknown names in `similar`.
    """
    check_detections(detections, images, classes)
    alike = _similarity(classes, similar)
    kinds = [_kinds_if_wrong(found, image, alike) for found, image in zip(detections, images, strict=True)]
    first, joined = np.cumsum([0, *map(len, kinds)]), np.concatenate([np.zeros(0, int), *kinds])
    diagnoses = {}
    both = (match_classes(detections, images, len(classes), iou) for iou in (0.5, LOOSE_IOU))
    for label, (name, strict, loose) in enumerate(zip(classes, *both, strict=True), start=1):
        outcomes = np.where(strict.correct, 0, joined[first[strict.images] + strict.detections])
        counted = ~strict.ignored
        ap = {"as_is": _ap(strict, counted), "localisation_corrected": _ap(loose, loose.correct | (loose.objects < 0))}
        for key, removed in REMOVED.items():
            ap[key] = _ap(strict, counted & ~np.isin(outcomes, [OUTCOMES.index(kind) for kind in removed]))
        sizes = evaluate_sizes(strict, images, label)
        diagnoses[name] = ClassDiagnosis(outcomes[counted], strict.positives, ap, sizes)
    return Diagnosis(diagnoses)


def _similarity(classes: Sequence[str], sets: Sequence[Sequence[str]] | None) -> NDArray[np.bool_]:
    """Return the matrix of similar classes, bool (K, K)."""
    if sets is None:
        sets = VOC_SIMILAR if set(VOC_CLASSES).issuperset(classes) else ()
    else:
        unknown = [name for names in sets for name in names if name not in classes]
        if unknown:
            raise InputError("no such class", field="similar", expected=tuple(classes), got=unknown[0])
    alike = np.zeros((len(classes), len(classes)), dtype=bool)
    for names in sets:
        members = [k for k, name in enumerate(classes) if name in names]
        alike[np.ix_(members, members)] = True
    return alike


def _kinds_if_wrong(found: Detections, image: Annotations, alike: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the kind of each detection of an image if it is an error: int64 (N,), index in OUTCOMES."""
    overlaps = box_iou(found.boxes.cpu().double(), image.boxes.double()).numpy() >= LOOSE_IOU  # (N, M)
    labels, of_objects = found.labels.cpu().numpy()[:, None], image.labels.numpy()[None, :]
    tests = (overlaps & (labels == of_objects), overlaps & alike[labels - 1, of_objects - 1], overlaps)
    return np.select([test.any(axis=1) for test in tests], [1, 2, 3], default=4)


def _ap(matches: Matches, kept: NDArray[np.bool_]) -> float:
    """Return AP of the detections `kept`, bool (N,)."""
    return average_precision_area(trace_curve(matches, kept, matches.positives))


def _gains(ap: Mapping[str, float]) -> list[str]:
    return [points(ap["as_is"]), *(points(ap[key] - ap["as_is"], "+.1f") for key in GAINS.values())]


def _error(fraction: float) -> str:
    return " " * 6 if isnan(fraction) else f" ±{100 * fraction:4.1f}"
