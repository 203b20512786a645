"""Diagnosis of a detector's errors: false positives by kind, and average precision by object size.

After Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object Detectors" (ECCV 2012), on the matches of `evaluate_voc`
at IoU 0.5. AP is the area under the curve (VOC2010), as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_iou
from sppdet.data.voc import VOC_CLASSES
from sppdet.errors import InputError
from sppdet.evaluation.diagnosis import OUTCOMES, REMOVED, ClassDiagnosis, Diagnosis
from sppdet.evaluation.sizes import evaluate_sizes
from sppdet.evaluation.voc import Matches, average_precision_area, match_class, trace_curve
from sppdet.structures import Annotations, Detections, check_detections

LOOSE_IOU = 0.1  # detections that overlap no object by this much are background

# Two classes are similar when both are in one of these sets (section 2). Bottles, plants and monitors are in none.
VOC_SIMILAR = (
    ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    ("bird", "cat", "cow", "dog", "horse", "person", "sheep"),
    ("chair", "diningtable", "sofa"),
    ("aeroplane", "bird"),
)


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
    """Return the matrix of similar classes, bool (K, K)."""
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
    """Return the kind of each detection of an image if it is an error: int64 (N,), index in OUTCOMES."""
    overlaps = box_iou(found.boxes.cpu().double(), image.boxes.double()).numpy() >= LOOSE_IOU  # (N, M)
    labels, of_objects = found.labels.cpu().numpy()[:, None], image.labels.numpy()[None, :]
    tests = (overlaps & (labels == of_objects), overlaps & alike[labels - 1, of_objects - 1], overlaps)
    return np.select([test.any(axis=1) for test in tests], [1, 2, 3], default=4)


def _ap(matches: Matches, kept: NDArray[np.bool_]) -> float:
    """Return AP of the detections `kept`, bool (N,)."""
    return average_precision_area(trace_curve(matches, kept, matches.positives))
