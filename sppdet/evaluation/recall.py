"""Recall of proposals, the upper bound of the recall of any detector that classifies them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sppdet.boxes import box_area, box_iou
from sppdet.evaluation.matching import check_iou
from sppdet.evaluation.voc import mean_over_classes
from sppdet.structures import Annotations, check_boxes, check_images

# COCO's bounds between small, medium and large objects, in square pixels; an object on a bound is the larger size.
MEDIUM_AREA, LARGE_AREA = 32.0**2, 96.0**2


@dataclass(frozen=True)
class ProposalQuality:
    """Recall of proposals on the objects that are not difficult. Fractions in [0, 1]; NaN without objects.

    recall: fraction of objects whose best proposal has an IoU of at least `iou`. abo: average best overlap (IoU) of
    each class. mabo: its mean over classes (Uijlings et al. 2013, section 5). recall_by_size: small, medium, large.
    """

    iou: float
    recall: float
    mabo: float
    boxes_per_image: float
    objects: int
    recall_by_class: dict[str, float]
    abo: dict[str, float]
    recall_by_size: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_proposals(
    proposals: Sequence[Tensor], images: Sequence[Annotations], classes: Sequence[str], iou: float = 0.5
) -> ProposalQuality:
    """Measure how well `proposals[i]`, float32 (N, 4), cover the objects of `images[i]`; `classes` names labels 1..K.

    Raises InputError for lists of different lengths, labels outside 1..K, and arrays that are not boxes.
    """
    check_images(len(proposals), images, classes)
    check_iou(iou)
    best, labels, areas = [torch.zeros(0).double()], [torch.zeros(0).long()], [torch.zeros(0).double()]
    for image, boxes in zip(images, proposals, strict=True):
        check_boxes(boxes, f"proposals of image {image.id}")
        objects = image.boxes[~image.difficult].double()
        overlaps = torch.cat([box_iou(objects, boxes.cpu().double()), torch.zeros(len(objects), 1).double()], dim=1)
        best.append(overlaps.amax(dim=1))
        labels.append(image.labels[~image.difficult])
        areas.append(box_area(objects))
    overlap, label, area = torch.cat(best), torch.cat(labels), torch.cat(areas)
    covered = (overlap >= iou).double()
    sizes = {
        "small": area < MEDIUM_AREA,
        "medium": (area >= MEDIUM_AREA) & (area < LARGE_AREA),
        "large": area >= LARGE_AREA,
    }
    by_class = {name: label == k for k, name in enumerate(classes, start=1)}
    abo = {name: _mean(overlap[of_class]) for name, of_class in by_class.items()}
    return ProposalQuality(
        iou=iou,
        recall=_mean(covered),
        mabo=mean_over_classes(abo.values()),
        boxes_per_image=_mean(torch.tensor([len(boxes) for boxes in proposals], dtype=torch.float64)),
        objects=len(overlap),
        recall_by_class={name: _mean(covered[of_class]) for name, of_class in by_class.items()},
        abo=abo,
        recall_by_size={name: _mean(covered[of_size]) for name, of_size in sizes.items()},
    )


def _mean(values: Tensor) -> float:
    return float(values.mean())  # NaN if empty
