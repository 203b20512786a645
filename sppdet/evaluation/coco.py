"""COCO's twelve numbers, computed by pycocotools, one class after the other.

pycocotools takes about 4 kB for each detection that it holds, so it gets those of one class in IMAGES images at a time.
Only the matches are kept: 3 kB an image, 11 kB with 100 detections.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sppdet.structures import Annotations, Detections, check_detections
from sppdet.structures.joined import Joined, join_detections, join_objects

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval

METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)
MOST = 100  # detections of a class in an image that count
IMAGES = 1000  # matched at a time
AXES = {"precision": 2, "recall": 1}  # of the classes, in the arrays of pycocotools


def evaluate_coco(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]
) -> dict[str, float]:
    """Compute COCO AP (IoU 0.50:0.95) and the other numbers in `METRICS`, fractions, NaN where there are no objects.

    Difficult objects are treated as COCO's crowds: neither right nor wrong. Small, medium and large are areas of the
    box, while COCO's own annotations give the area of the mask.
    Raises InputError for lists of different lengths, labels outside 1..K, and NaN scores.
    """
    from pycocotools.cocoeval import COCOeval

    check_detections(detections, images, classes)
    both = (_of_classes(joined, len(classes)) for joined in (join_objects(images), join_detections(detections)))
    with contextlib.redirect_stdout(io.StringIO()):
        parts = [_evaluate_class(*rows) for rows in zip(*both, strict=True)]
        whole = COCOeval(iouType="bbox")
        whole.eval = {name: np.concatenate([part[name] for part in parts], axis) for name, axis in AXES.items()}
        whole.summarize()
    values = (float(value) for value in whole.stats)
    return {name: value if value >= 0 else float("nan") for name, value in zip(METRICS, values, strict=True)}


def _of_classes(joined: Joined, classes: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield image indices, boxes (N, 4) and values of each class's rows, ordered by image."""
    for label in range(1, classes + 1):
        rows = np.flatnonzero(joined.labels == label)
        yield joined.images[rows], joined.boxes[rows], joined.values[rows]


def _evaluate_class(objects: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]) -> dict[str, Any]:
    """Return pycocotools' precision and recall of one class."""
    order = np.lexsort((-found[2], found[0]))
    rank = np.arange(len(order)) - np.searchsorted(found[0], found[0])  # in its image, best first
    found = tuple(column[order[rank < MOST]] for column in found)
    ids: list[int] = []
    parts = []
    starts = np.union1d(objects[0], found[0])[IMAGES::IMAGES]
    for both in zip(_split(objects, starts), _split(found, starts), strict=True):
        evaluation = _match(*both)
        ids += evaluation.params.imgIds
        parts.append(np.array(evaluation.evalImgs, dtype=object).reshape(len(evaluation.params.areaRng), -1))
    evaluation.evalImgs = np.concatenate(parts, axis=1).ravel().tolist()  # as if there had been one part
    evaluation.params.imgIds = evaluation._paramsEval.imgIds = ids
    evaluation.accumulate()
    return evaluation.eval


def _split(rows: tuple[NDArray[Any], ...], starts: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the rows of the images before the first of `starts`, then those from each of these on."""
    places = np.searchsorted(rows[0], starts)
    return zip(*(np.split(column, places) for column in rows), strict=True)


def _match(objects: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]) -> COCOeval:
    """Return pycocotools' matches, of which only what it accumulates is kept."""
    from pycocotools.cocoeval import COCOeval

    images = np.union1d(objects[0], found[0]).tolist()
    evaluation = COCOeval(_index(images, "iscrowd", *objects), _index(images, "score", *found), "bbox")
    evaluation.evaluate()
    scores: list[NDArray[np.float64]] = []  # of each image, the same in each range of areas
    for number, one in enumerate(evaluation.evalImgs):
        scores += [np.array(one["dtScores"])] if number < len(images) else []
        kept = {"dtMatches": one["dtMatches"] > 0, "dtIgnore": one["dtIgnore"], "gtIgnore": one["gtIgnore"]}
        evaluation.evalImgs[number] = kept | {"dtScores": scores[number % len(images)]}
    return evaluation


def _index(images: list[int], name: str, *columns: np.ndarray) -> Any:
    """Return pycocotools' index of rows of one class. Its `loadRes` fails without detections."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": 1}],
        # pycocotools marks a match by the id of the partner and reads 0 as no match, so ids begin at 1.
        "annotations": [
            _entry(image, box, name, value) | {"id": number}
            for number, (image, box, value) in enumerate(zip(*(column.tolist() for column in columns), strict=True), 1)
        ],
    }
    coco.createIndex()
    return coco


def _entry(image: int, box: list[float], name: str, value: float) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    bbox = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image, "category_id": 1, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0, name: value}
