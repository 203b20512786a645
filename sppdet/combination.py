"""Several detectors as one: non-maximum suppression over the union of what they found."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sppdet.config import SelectionConfig
from sppdet.nms import nms
from sppdet.structures import Detections


def combine_detections(found: Sequence[Detections], selection: SelectionConfig | None = None) -> Detections:
    """What several detectors found in one image, as one: a more probable box suppresses those of the others that it
    overlaps (SPPnet, section 4, "Model Combination for Detection"). At most `selection.per_class` of a class remain.

    Scores must mean the same in all of them, as calibrated ones do. The paper combines all candidate windows; these
    have been through the suppression of their own detector. Equal scores stand in the order of the detectors.
    """
    selection = selection or SelectionConfig()
    boxes, labels, scores = (
        torch.cat([getattr(Detections.empty(), name), *(getattr(part, name) for part in found)])
        for name in ("boxes", "labels", "scores")
    )
    return Detections(boxes, labels, scores)[nms(boxes, scores, labels, selection.nms_iou, selection.per_class)]
