"""COCO's twelve numbers, computed by pycocotools on all classes at once."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from sppdet.evaluation.coco import METRICS
from sppdet.structures import Annotations, Detections


def pycocotools_numbers(
    detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]
) -> dict[str, float]:
    """Compute what `evaluate_coco` does."""
    objects = [_coco_entries(i, image, "iscrowd", image.difficult.int()) for i, image in enumerate(images, 1)]
    results = [_coco_entries(i, found, "score", found.scores) for i, found in enumerate(detections, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*(_index(entries, len(images), len(classes)) for entries in (objects, results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = (float(value) for value in evaluation.stats)
    return {name: value if value >= 0 else float("nan") for name, value in zip(METRICS, values, strict=True)}


def _coco_entries(
    image_id: int, found: Annotations | Detections, name: str, values: Tensor
) -> Iterator[dict[str, Any]]:
    rows = zip(found.labels.tolist(), found.boxes.tolist(), values.tolist(), strict=True)
    for label, (x1, y1, x2, y2), value in rows:
        bbox = [x1, y1, x2 - x1, y2 - y1]
        area = bbox[2] * bbox[3]
        yield {"image_id": image_id, "category_id": label, "bbox": bbox, "area": area, "iscrowd": 0, name: value}


def _index(entries: Iterable[Iterable[dict[str, Any]]], images: int, classes: int) -> Any:
    """Return pycocotools' index of the entries of each image. Its `loadRes` fails without detections."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(1, images + 1)],
        "categories": [{"id": label} for label in range(1, classes + 1)],
        # pycocotools marks a match by the id of the partner and reads 0 as no match, so ids begin at 1.
        "annotations": [{**entry, "id": number} for number, entry in enumerate(chain.from_iterable(entries), 1)],
    }
    coco.createIndex()
    return coco
