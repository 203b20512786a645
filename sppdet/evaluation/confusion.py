"""The confusion matrix of detections: the classes of objects against those that they are detected as."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sppdet.boxes import box_iou
from sppdet.evaluation.matching import check_iou, match_classes
from sppdet.structures import Annotations, Detections, check_detections


def confusion_matrix(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str], iou: float = 0.5
) -> NDArray[np.int64]:
    """Count objects by class and by the class they are detected as: int64 (K + 1, K + 1), 0 is background.

    `detections[i]` were made in `images[i]`; give those above a threshold. Correct detections, by the rule of
    `evaluate_voc`, are on the diagonal. The others take, best score first, the object of another class that they
    overlap most among those that no detection has, if IoU >= `iou`; row: the object's label, column: the detection's.
    Row 0 counts detections without an object, column 0 objects without a detection. Difficult objects and their
    matches are left out. Raises InputError as `evaluate_voc` does.
    """
    check_detections(detections, images, classes)
    check_iou(iou)
    counts = np.zeros((len(classes) + 1, len(classes) + 1), dtype=np.int64)
    free = [~image.difficult.numpy() for image in images]  # objects that no detection has yet
    wrong = [np.ones(len(found), dtype=bool) for found in detections]
    for label, matches in enumerate(match_classes(detections, images, len(classes), iou), start=1):
        for i, detection, thing in zip(matches.images, matches.detections, matches.objects, strict=True):
            wrong[i][detection] &= thing < 0 or not images[i].difficult[thing]
        right = (matches.images[matches.correct], matches.detections[matches.correct], matches.objects[matches.correct])
        for i, detection, thing in zip(*right, strict=True):
            wrong[i][detection] = free[i][thing] = False
        counts[label, label] = matches.correct.sum()
    for found, image, unclaimed, left in zip(detections, images, free, wrong, strict=True):
        overlaps = box_iou(found.boxes.cpu().double(), image.boxes.double()).numpy()
        same = found.labels.cpu().numpy()[:, None] == image.labels.numpy()[None]
        for detection in np.flatnonzero(left)[np.argsort(-found.scores.cpu().numpy()[left], kind="stable")]:
            fits = np.where(unclaimed & ~same[detection], overlaps[detection], 0)
            thing = int(fits.argmax()) if len(fits) and fits.max() >= iou else None
            counts[0 if thing is None else int(image.labels[thing]), int(found.labels[detection])] += 1
            if thing is not None:
                unclaimed[thing] = False
        np.add.at(counts[:, 0], image.labels.numpy()[unclaimed], 1)
    return counts
