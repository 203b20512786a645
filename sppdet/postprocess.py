"""Outputs of the heads to detections, and the detections of several detectors to one set."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sppdet.boxes import clip_boxes, decode_boxes, nms, vote
from sppdet.config.detector import SelectionConfig
from sppdet.config.heads import CLASS_OUTPUTS, HeadKind
from sppdet.heads.linear import Heads
from sppdet.runtime.stopwatch import stage
from sppdet.structures import Detections


class Candidates(NamedTuple):
    """The boxes that NMS selects from, in the order of the regions that they come from.

    boxes: float32 (M, 4), moved by box regression. labels: int64 (M,), 1..K. scores: float32 (M,). regions: int64 (M,),
    indices of the regions.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    regions: Tensor


def postprocess(
    heads: Heads, outputs: Tensor, boxes: Tensor, size: tuple[int, int], selection: SelectionConfig
) -> Detections:
    """Convert the heads' outputs (N, outputs) for boxes (N, 4) in an image of `size` (H, W) to detections: move the
    boxes by their offsets, and select the best of those that overlap."""
    moved, scores = move_boxes(heads, outputs, boxes)
    with stage("nms"):
        return select(clip_boxes(moved, *size), scores, selection, heads.kind)


def move_boxes(heads: Heads, outputs: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Convert the heads' outputs (N, outputs) for boxes (N, 4) to boxes (N, K, 4) moved by their offsets, which may
    reach out of the image, and scores (N, K)."""
    with stage("heads"), torch.inference_mode():
        class_outputs, offsets = heads.split(outputs)
        scores = heads.activate(class_outputs)
        boxes = boxes.to(scores.device)
        repeated = boxes[:, None].expand(-1, heads.num_classes, -1)
        return (repeated if offsets is None else decode_boxes(boxes, offsets)), scores


def select(boxes: Tensor, scores: Tensor, config: SelectionConfig, kind: HeadKind = "svm") -> Detections:
    """Select boxes of (N, K, 4) with scores (N, K) above the minimum that survive NMS, up to a number per class, and
    let the others vote on their places if `config.vote_iou` is below 1."""
    lowest = minimum_score(config, kind)
    boxes, labels, scores, _ = find_candidates(boxes, scores, lowest)
    kept = nms(boxes, scores, labels, config.nms_iou, config.max_per_class)
    best = boxes[kept] if config.vote_iou == 1 else vote(boxes, scores - lowest, labels, kept, config.vote_iou)
    return Detections(best.cpu().clone(), labels[kept].cpu(), scores[kept].cpu().clone())


def find_candidates(boxes: Tensor, scores: Tensor, lowest: float) -> Candidates:
    """Return those of boxes (N, K, 4) with scores (N, K) above the lowest."""
    region, label = (scores > lowest).nonzero(as_tuple=True)
    return Candidates(boxes[region, label], label + 1, scores[region, label], region)


def minimum_score(config: SelectionConfig, kind: HeadKind) -> float:
    """Return the score that detections must exceed; the default depends on the kind of the heads."""
    return CLASS_OUTPUTS[kind].min_score if config.min_score is None else config.min_score


def combine_detections(detections: Sequence[Detections], selection: SelectionConfig | None = None) -> Detections:
    """Combine what several detectors found in one image: a more probable box suppresses the boxes of the others that
    it overlaps (SPPnet, section 4, "Model Combination for Detection"). Up to `max_per_class` of a class remain.

    Scores must mean the same in all of them, as calibrated ones do. The paper combines all candidate windows; here each
    detector's own NMS and voting come first, and `selection.vote_iou` is not used again. Equal scores stand in the
    order of the detectors.
    """
    selection = selection or SelectionConfig()
    boxes, labels, scores = (
        torch.cat([getattr(Detections.empty(), name), *(getattr(part, name) for part in detections)])
        for name in ("boxes", "labels", "scores")
    )
    kept = nms(boxes, scores, labels, selection.nms_iou, selection.max_per_class)
    return Detections(boxes, labels, scores, next((part.classes for part in detections), None))[kept]
