"""Which detections are of which objects, by the rule of the PASCAL VOC devkit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sppdet.boxes import iou_of_pairs
from sppdet.errors import InputError
from sppdet.structures import Annotations, Detections
from sppdet.structures.joined import Joined, join_detections, join_objects


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class in all images, best score first, and the objects they match.

    images, detections: index of the image, and of the detection in that image. objects: index of the matched object in
    the image, -1 for none. correct: the first match of an object that is not difficult. ignored: matches of difficult
    objects, neither correct nor incorrect; all others are incorrect. positives: number of objects not difficult.
    """

    scores: NDArray[np.float32]  # (N,), as all
    images: NDArray[np.int64]
    detections: NDArray[np.int64]
    objects: NDArray[np.int64]
    correct: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    positives: int


def match_classes(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: int, iou: float = 0.5
) -> Iterator[Matches]:
    """Match the detections of each class 1..classes by the rule of `evaluate_voc`, without its checks of arguments."""
    found, objects = join_detections(detections), join_objects(images)
    scores, difficult = found.values, objects.values
    for label in range(1, classes + 1):
        rows, things = np.flatnonzero(found.labels == label), np.flatnonzero(objects.labels == label)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        matched = _match(_take(found, rows), _take(objects, things), iou)
        ignored = np.append(difficult[things], False)[matched]  # -1 reads the appended entry
        numbers, first = np.unique(matched, return_index=True)
        correct = np.zeros(len(rows), dtype=bool)
        correct[first[numbers >= 0]] = True
        places = np.append(objects.places[things], -1)[matched]
        positives = int((~difficult[things]).sum())
        yield Matches(
            scores[rows], found.images[rows], found.places[rows], places, correct & ~ignored, ignored, positives
        )


def check_iou(iou: float) -> None:
    """Raise InputError unless this threshold of intersection over union lies in (0, 1]."""
    if not 0 < iou <= 1:
        raise InputError("out of range", field="iou", expected="0 < iou <= 1", got=iou)


def _take(joined: Joined, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], torch.Tensor]:
    """Return image and box of these rows. In float32 an IoU equal to the threshold could fall below it."""
    return joined.images[rows], torch.from_numpy(joined.boxes[rows]).double()


def _match(
    found: tuple[NDArray[np.int64], torch.Tensor], objects: tuple[NDArray[np.int64], torch.Tensor], iou: float
) -> NDArray[np.int64]:
    """Return the object that each detection overlaps most, the first of equals, -1 where the IoU is below `iou`.

    The objects are in the order of images.
    """
    images, boxes = found
    first, end = (np.searchsorted(objects[0], images, side) for side in ("left", "right"))
    best, matched = np.zeros(len(images)), np.full(len(images), -1)
    rows, k = np.flatnonzero(end > first), 0
    while len(rows):  # the k-th object in the image of each detection
        overlaps = iou_of_pairs(boxes[rows], objects[1][first[rows] + k]).numpy()
        better = overlaps > best[rows]
        best[rows[better]], matched[rows[better]] = overlaps[better], (first[rows] + k)[better]
        k += 1
        rows = rows[first[rows] + k < end[rows]]
    matched[best < iou] = -1
    return matched
