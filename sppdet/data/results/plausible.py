"""Hints that detections of other programs cannot be right: units, other images, classes that are exchanged."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.boxes import box_iou
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.runtime.prefetch import read_small_files
from sppdet.structures import Annotations, Dataset, Detections
from sppdet.structures.joined import join_detections
from sppdet.wording import counted

logger = logging.getLogger(__name__)

FITS = 0.5  # IoU of a detection with an object
CORNERS = 0.3  # fraction of boxes beyond their images, above which they are corners if all may be
FRACTIONS = 1.5  # the largest number of boxes that are fractions and may reach beyond their images
SHOWN = 5  # classes that a warning names


def check_boxes_fit(path: Path, detections: Sequence[Detections], dataset: Dataset, corners: bool) -> None:
    """Check the boxes of detections against the sizes of their images; images of unknown size are left out.

    corners: the file `path` gives x1 y1 x2 y2, 1-based, and not x y width height. Raises DataError if all boxes are
    fractions of their images or lie outside them; logs how many are under a pixel or beyond their images, if most are.
    """
    rows = [(one.boxes, image) for one, image in zip(detections, dataset.images, strict=True) if len(one)]
    sizes = read_small_files([image for _, image in rows], _size)
    known = [(b, torch.tensor(size).repeat(len(b), 1)) for (b, _), size in zip(rows, sizes, strict=True) if size]
    if not known:
        return
    boxes, limits = (torch.cat(part) for part in zip(*known, strict=True))
    start, end, count = boxes[:, :2], boxes[:, 2:], len(boxes)
    all_boxes = counted(count, "box")
    given = torch.cat([start + 1, end] if corners else [start, end - start], dim=1)  # as in the file
    if bool((given.abs() <= FRACTIONS).all()) and bool((given != given.round()).any()):
        expected = "pixels, " + ("x1 y1 x2 y2" if corners else "x y width height")
        got = ", ".join(f"{value:g}" for value in given[0].tolist())
        raise DataError("boxes are fractions of their images, not pixels", file=path, expected=expected, got=got)
    outside = ((start >= limits) | (end <= 0)).any(dim=1)
    if bool(outside.all()):
        raise DataError("boxes outside their images", file=path, expected="pixels of these images", got=f"all {count}")
    beyond = ((start < -1 - 0.01 * limits) | (end > 1 + 1.01 * limits)).any(dim=1).sum()
    may_be_corners = ((given[:, 2:] > start - 1) & (given[:, 2:] <= limits + 1)).all()  # up to a pixel
    if not corners and beyond > CORNERS * count and bool(may_be_corners):
        logger.warning("%s: %d of %s reach beyond their images; corners in place of sides?", path, beyond, all_boxes)
    elif beyond > count / 2:
        logger.warning("%s: %d of %s reach beyond their images; of another size?", path, beyond, all_boxes)
    small = ((end - start) < 1).any(dim=1).sum()
    if small > count / 2:
        logger.warning("%s: %d of %s are under a pixel wide or high", path, small, all_boxes)


def check_classes_fit(path: Path, detections: Sequence[Detections], dataset: Dataset) -> None:
    """Log the classes whose best detections, as many as objects, fit none of these but mostly objects of another class.

    If no detection of any class fits, that is logged, and so are classes with objects but without detections.
    """
    objects = Counter(label for image in dataset.images for label in image.labels.tolist())
    found, of_class = join_detections(detections), []
    for label in sorted(objects):
        rows = np.flatnonzero(found.labels == label)
        best = rows[np.argsort(-found.values[rows], kind="stable")][: objects[label]]
        of_class.append([_fit(found.boxes[k], label, dataset.images[found.images[k]]) for k in best])
    fits = dict(zip(sorted(objects), of_class, strict=True))
    count = sum(len(labels) for labels in of_class)
    without = [dataset.classes[label - 1] for label, labels in fits.items() if not labels]
    if count and without:
        names = ", ".join([*without[:SHOWN], *(["…"] if len(without) > SHOWN else [])])
        logger.warning("%s: no detections of %s with objects: %s", path, counted(len(without), "class"), names)
    if count and not any(label in labels for label, labels in fits.items()):
        logger.warning("%s: none of the best %d detections fits an object of its class; other images?", path, count)
    for label, labels in fits.items():
        others = Counter(other for other in labels if other)
        if labels and label not in others and others.total() > len(labels) / 2:
            (other, count), name = others.most_common(1)[0], dataset.classes[label - 1]
            said = f"class {name}: none of the best {len(labels)} detections fits an object of it"
            logger.warning("%s: %s, %d fit one of %s; exchanged?", path, said, count, dataset.classes[other - 1])


def _fit(box: NDArray[np.float32], label: int, image: Annotations) -> int:
    """Return the label of the object that a detection of class `label` fits, its own first, or 0."""
    labels = image.labels[box_iou(torch.from_numpy(box)[None], image.boxes)[0] >= FITS].tolist()
    return label if label in labels else labels[0] if labels else 0


def _size(image: Annotations) -> tuple[int, int] | None:
    """Return (width, height) of an image, None if it is not known."""
    if isinstance(image.image, Tensor):
        return image.image.shape[2], image.image.shape[1]
    return read_size(image.image)
