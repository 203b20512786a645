"""Labels that a detector contradicts: probably missing boxes, wrong classes and loose boxes in the annotations."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sppdet.boxes import box_iou
from sppdet.evaluation.diagnose import LOOSE_IOU
from sppdet.structures import Annotations, Detections, check_detections

SEEN_IOU = 0.3  # of a detection with an object of its class that it means
TIGHT_IOU = 0.6  # from which the boxes agree
SWAPPED_IOU = 0.5  # with an object of another class

Kind = Literal["missing box", "wrong class", "loose box"]


class Doubt(NamedTuple):
    """A detection that contradicts the labels. image: index of its image. detection: its index in that image.
    object: index of the object in doubt, None if a box is missing. iou: of the detection with the object it overlaps
    most, of its own class for a loose box."""

    kind: Kind
    image: int
    detection: int
    object: int | None
    iou: float


def find_doubts(detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]) -> list[Doubt]:
    """Compare confident detections with the objects; `detections[i]` were made in `images[i]`, best first.

    A loose box: an object whose IoU with a detection of its class is from 0.3 to below 0.6. A wrong class: an object
    whose IoU with a detection of another class is at least 0.5, unless one of its own class agrees. A missing box: a
    detection whose IoU with every object is below 0.1. Each object is doubted once, by the best detection. Difficult
    objects are not doubted. Raises InputError as `evaluate_voc` does.
    """
    check_detections(detections, images, classes)
    return [doubt for i, pair in enumerate(zip(detections, images, strict=True)) for doubt in _doubt_image(i, *pair)]


def _doubt_image(number: int, found: Detections, image: Annotations) -> list[Doubt]:
    overlaps = box_iou(found.boxes.cpu().double(), image.boxes.double())  # (N, M)
    own = overlaps * (found.labels.cpu()[:, None] == image.labels[None])
    if not len(image.boxes):
        return [Doubt("missing box", number, d, None, 0.0) for d in range(len(found))]
    agreed = own.max(dim=0).values if len(found) else overlaps.new_zeros(len(image.boxes))
    closed = set(image.difficult.nonzero().flatten().tolist())  # not doubted, or already
    doubts: list[Doubt] = []
    kind: Kind
    for d in range(len(found)):
        mine, any_ = int(own[d].argmax()), int(overlaps[d].argmax())
        if own[d, mine] >= SEEN_IOU:
            kind, thing, doubted = "loose box", mine, bool(agreed[mine] < TIGHT_IOU)
        else:
            kind, thing = "wrong class", any_
            doubted = bool(overlaps[d, any_] >= SWAPPED_IOU and agreed[any_] < SWAPPED_IOU)
        if overlaps[d, any_] < LOOSE_IOU:
            doubts.append(Doubt("missing box", number, d, None, float(overlaps[d, any_])))
        elif doubted and thing not in closed:
            closed.add(thing)
            doubts.append(Doubt(kind, number, d, thing, float(overlaps[d, thing])))
    return doubts
