"""COCO's twelve numbers, computed by pycocotools."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

from sppdet.structures import Annotations, Detections, check_detections

METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


def evaluate_coco(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]
) -> dict[str, float]:
    """Compute the metrics of METRICS, fractions, NaN without objects; `detections[i]` were made in `images[i]`.

    Difficult objects become crowds, in which COCO does not judge detections. The size of an object is the area of its
    box, while COCO's own annotations give the area of the mask.
    Raises InputError for lists of different lengths, labels outside 1..K, and NaN scores.
    """
    from pycocotools.cocoeval import COCOeval

    check_detections(detections, images, classes)
    objects = [
        {**entry, "iscrowd": int(difficult)}
        for number, image in enumerate(images, start=1)
        for entry, difficult in zip(_coco_entries(number, image), image.difficult.tolist(), strict=True)
    ]
    results = [
        {**entry, "iscrowd": 0, "score": score}
        for number, part in enumerate(detections, start=1)
        for entry, score in zip(_coco_entries(number, part), part.scores.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        indices = (_index(entries, len(images), len(classes)) for entries in (objects, results))
        evaluation = COCOeval(*indices, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = (float(value) for value in evaluation.stats)
    return {name: value if value >= 0 else float("nan") for name, value in zip(METRICS, values, strict=True)}


def _coco_entries(image_id: int, boxes: Annotations | Detections) -> Iterator[dict[str, Any]]:
    for label, (x1, y1, x2, y2) in zip(boxes.labels.tolist(), boxes.boxes.tolist(), strict=True):
        bbox = [x1, y1, x2 - x1, y2 - y1]
        yield {"image_id": image_id, "category_id": label, "bbox": bbox, "area": bbox[2] * bbox[3]}


def _index(entries: list[dict[str, Any]], images: int, classes: int) -> Any:
    """Return pycocotools' index of these entries. Its `loadRes` fails without detections."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(1, images + 1)],
        "categories": [{"id": label} for label in range(1, classes + 1)],
        # pycocotools marks a match by the id of the partner and reads 0 as no match, so ids begin at 1.
        "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
    }
    coco.createIndex()
    return coco
