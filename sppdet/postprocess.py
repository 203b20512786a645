"""Scored boxes to detections, and the detections of several detectors to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sppdet.boxes import nms
from sppdet.config.detector import SelectionConfig
from sppdet.structures import Detections

SVM_SCORE, SOFTMAX_SCORE = -1.5, 0.01  # the lowest scores kept (R-CNN's code; ours)


def select(boxes: Tensor, scores: Tensor, config: SelectionConfig, kind: str = "svm") -> Detections:
    """Detections of boxes (N, K, 4) and scores (N, K): above the lowest score, after NMS, the best of each class."""
    lowest = config.min_score if config.min_score is not None else (SVM_SCORE if kind == "svm" else SOFTMAX_SCORE)
    region, label = (scores > lowest).nonzero(as_tuple=True)
    boxes, scores = boxes[region, label], scores[region, label]
    kept = nms(boxes, scores, label, config.nms_iou, config.max_per_class)
    return Detections(boxes[kept].cpu().clone(), label[kept].cpu() + 1, scores[kept].cpu().clone())


def combine_detections(found: Sequence[Detections], selection: SelectionConfig | None = None) -> Detections:
    """What several detectors found in one image, as one: a more probable box suppresses those of the others that it
    overlaps (SPPnet, section 4, "Model Combination for Detection"). At most `max_per_class` of a class remain.

    Scores must mean the same in all of them, as calibrated ones do. The paper combines all candidate windows; these
    have been through the suppression of their own detector. Equal scores stand in the order of the detectors.
    """
    selection = selection or SelectionConfig()
    boxes, labels, scores = (
        torch.cat([getattr(Detections.empty(), name), *(getattr(part, name) for part in found)])
        for name in ("boxes", "labels", "scores")
    )
    return Detections(boxes, labels, scores)[nms(boxes, scores, labels, selection.nms_iou, selection.max_per_class)]
