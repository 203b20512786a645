"""What keeps a detector's average precision down: its false positives by kind, and AP by object size.

After Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors" (ECCV 2012), on the matches of `evaluate_voc`
at IoU 0.5. AP is the area under the curve (VOC2010), as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_iou
from sppdet.data.voc import VOC_CLASSES
from sppdet.errors import InputError
from sppdet.evaluation.sizes import SIZES, SizeAP, evaluate_sizes
from sppdet.evaluation.voc import Matches, average_precision_area, match_class, mean_over_classes, trace_curve
from sppdet.structures import Annotations, Detections, check_detections

LOOSE_IOU = 0.1  # a detection that overlaps an object less has nothing to do with it
KINDS = ("localisation", "similar", "other", "background")
OUTCOMES = ("correct", *KINDS)
REMOVED = {f"without_{kind}": (kind,) for kind in KINDS} | {"without_other_and_background": ("other", "background")}
APS = ("as_is", "localisation_corrected", *REMOVED)
MULTIPLES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # as many detections as these times the class's objects make the trend

# Two classes are similar when both are in one of these sets (section 2). Bottles, plants and monitors are in none.
VOC_SIMILAR = (
    ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    ("bird", "cat", "cow", "dog", "horse", "person", "sheep"),
    ("chair", "diningtable", "sofa"),
    ("aeroplane", "bird"),
)


@dataclass(frozen=True, eq=False)
class ClassDiagnosis:
    """The errors of one class. Fractions in [0, 1]; NaN where there is no object to be found.

    outcomes: int64 (N,), an index in OUTCOMES for each detection, best score first; those matched to difficult objects
    count as nothing and are left out. positives: the objects to be found. ap: AP by APS, as it is and with errors of a
    kind removed or corrected. sizes: AP_N by size, and on "all".
    """

    outcomes: NDArray[np.int64]
    positives: int
    ap: Mapping[str, float]
    sizes: Mapping[str, SizeAP]

    def counts(self, multiple: float = 1) -> dict[str, int]:
        """How many of the best `multiple` · positives detections, rounded up, come to each of OUTCOMES.

        With 1 these are the paper's top-ranked ones: no error would be among them if all objects were found first.
        """
        numbers = np.bincount(self.outcomes[: ceil(multiple * self.positives)], minlength=len(OUTCOMES))
        return dict(zip(OUTCOMES, numbers.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names of the JSON output."""
        return {
            "positives": self.positives,
            "top": self.counts(),
            "trend": [{"multiple": multiple, **self.counts(multiple)} for multiple in MULTIPLES],
            "ap": dict(self.ap),
            "sizes": {name: asdict(size) for name, size in self.sizes.items()},
        }


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The errors of each class; all else follows from them."""

    classes: Mapping[str, ClassDiagnosis]

    def shares(self, multiple: float = 1) -> dict[str, float]:
        """The mean over classes of each outcome's share of what `counts` looks at; NaN where no class has any."""
        counts = [list(diagnosis.counts(multiple).values()) for diagnosis in self.classes.values()]
        shares = [np.divide(count, sum(count)) for count in counts if sum(count)]
        means = np.mean(shares, axis=0) if shares else np.full(len(OUTCOMES), np.nan)
        return dict(zip(OUTCOMES, means.tolist(), strict=True))

    @property
    def ap(self) -> dict[str, float]:
        """Means over the classes with positives, by APS."""
        return {key: mean_over_classes({name: part.ap[key] for name, part in self.classes.items()}) for key in APS}

    @property
    def ap_n(self) -> dict[str, float]:
        """Means over the classes with objects of the size, by SIZES and "all"."""
        return {
            size: mean_over_classes({name: part.sizes[size].ap_n for name, part in self.classes.items()})
            for size in ("all", *SIZES)
        }

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names of the JSON output: counts and AP of each class, shares and AP in the mean."""
        trend = [{"multiple": multiple, **self.shares(multiple)} for multiple in MULTIPLES]
        mean = {"top": self.shares(), "trend": trend, "ap": self.ap, "ap_n": self.ap_n}
        return {"mean": mean, "per_class": {name: part.as_dict() for name, part in self.classes.items()}}


def diagnose(
    detections: Sequence[Detections],
    images: Sequence[Annotations],
    classes: Sequence[str],
    similar: Sequence[Sequence[str]] | None = None,
) -> Diagnosis:
    """Diagnose detections; `detections[i]` were found in `images[i]`, `classes` names labels 1..K.

    A false positive is of the first of these kinds whose condition it meets (section 2): localisation, if its IoU with
    an object of its class is at least 0.1, which a second detection of an object always has; similar, if its IoU with
    an object of a similar class is; other, if that with any object is; background. Difficult objects are objects here.
    similar: sets of names of similar classes; where not given, VOC_SIMILAR if all classes are VOC's, else none.

    Localisation is corrected by matching at IoU 0.1 and removing further detections of an object. Removal of
    localisation, this correction, removal of similar, and of other and background together are the paper's bars L, L,
    S and B.
    Raises InputError for lists of different lengths, labels outside 1..K, NaN scores, and unknown names in `similar`.
    """
    check_detections(detections, images, classes)
    alike = _similarity(classes, similar)
    kinds = [_kinds_if_wrong(found, image, alike) for found, image in zip(detections, images, strict=True)]
    first, joined = np.cumsum([0, *map(len, kinds)]), np.concatenate([np.zeros(0, int), *kinds])
    diagnoses = {}
    for label, name in enumerate(classes, start=1):
        strict, loose = (match_class(detections, images, label, iou) for iou in (0.5, LOOSE_IOU))
        outcomes = np.where(strict.correct, 0, joined[first[strict.images] + strict.detections])
        counted = ~strict.ignored
        ap = {"as_is": _ap(strict, counted), "localisation_corrected": _ap(loose, loose.correct | (loose.objects < 0))}
        for key, removed in REMOVED.items():
            ap[key] = _ap(strict, counted & ~np.isin(outcomes, [OUTCOMES.index(kind) for kind in removed]))
        sizes = evaluate_sizes(strict, images, label)
        diagnoses[name] = ClassDiagnosis(outcomes[counted], strict.positives, ap, sizes)
    return Diagnosis(diagnoses)


def _similarity(classes: Sequence[str], sets: Sequence[Sequence[str]] | None) -> NDArray[np.bool_]:
    """Which classes are similar, bool (K, K)."""
    if sets is None:
        sets = VOC_SIMILAR if set(VOC_CLASSES).issuperset(classes) else ()
    else:
        unknown = [name for names in sets for name in names if name not in classes]
        if unknown:
            raise InputError("no such class", field="similar", expected=f"one of {', '.join(classes)}", got=unknown[0])
    alike = np.zeros((len(classes), len(classes)), dtype=bool)
    for names in sets:
        members = [k for k, name in enumerate(classes) if name in names]
        alike[np.ix_(members, members)] = True
    return alike


def _kinds_if_wrong(found: Detections, image: Annotations, alike: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The index in OUTCOMES of the kind of error each detection of an image is, if it is one: int64 (N,)."""
    overlaps = box_iou(found.boxes.cpu().double(), image.boxes.double()).numpy() >= LOOSE_IOU  # (N, M)
    labels, of_objects = found.labels.cpu().numpy()[:, None], image.labels.numpy()[None, :]
    tests = (overlaps & (labels == of_objects), overlaps & alike[labels - 1, of_objects - 1], overlaps)
    return np.select([test.any(axis=1) for test in tests], [1, 2, 3], default=4)


def _ap(matches: Matches, kept: NDArray[np.bool_]) -> float:
    """AP if only the detections `kept`, bool (N,), had been made."""
    return average_precision_area(trace_curve(matches, kept, matches.positives))
