"""An encoded image: what a detector computes once for all boxes, and what it then says about any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sppdet.backbones.backbone import check_maps
from sppdet.boxes import clip_boxes, mirror_boxes
from sppdet.config.detector import SelectionConfig
from sppdet.explanation.evidence import Evidence, find_evidence
from sppdet.features.extractor import ImageFeatures, apply_to_features
from sppdet.heads.linear import Heads
from sppdet.postprocess import Candidates, find_candidates, minimum_score, move_boxes, postprocess
from sppdet.structures import Detections, check_boxes


@dataclass(frozen=True, eq=False, repr=False)
class EncodedImage:
    """An encoded image of `size` (H, W). Boxes are float32 (N, 4), in its original pixels.

    mirrored: the mirror image, if regions are scored there as well. heads, selection, classes: those of the detector.
    """

    image_features: ImageFeatures
    size: tuple[int, int]
    heads: Heads
    selection: SelectionConfig
    classes: tuple[str, ...]
    mirrored: ImageFeatures | None = None

    def __repr__(self) -> str:
        return f"EncodedImage({self.size[0]}x{self.size[1]}, {', '.join(self.classes)})"

    def features(self, boxes: Tensor) -> Tensor:
        """Compute region features float32 (N, D), without those of the mirror image."""
        check_boxes(boxes)
        return self.image_features.features(boxes)

    def outputs(self, boxes: Tensor) -> Tensor:
        """Compute the outputs of the heads (N, outputs), averaged with those of the mirror image."""
        check_boxes(boxes)
        heads = self.heads
        with torch.inference_mode():
            outputs = apply_to_features(self.image_features, boxes, heads)
            if self.mirrored is not None:
                outputs = (outputs + heads.mirror(apply_to_features(self.mirrored, self._mirror(boxes), heads))) / 2
            check_maps([outputs])
        return outputs

    def score(self, boxes: Tensor) -> Tensor:
        """Compute scores float32 (N, K), without background."""
        return self.heads.activate(self.heads.split(self.outputs(boxes))[0])

    def evidence(self, box: Tensor, label: int) -> Evidence:
        """Divide the score of label 1..K for one box float32 (4,) over the bins and cells that it comes from.

        Raises InputError for a label that is none, ConfigError for a detector with fully connected layers.
        """
        check_boxes(box[None])
        evidence = find_evidence(self.image_features, self.heads, box, label)
        if self.mirrored is None:
            return evidence
        other = find_evidence(self.mirrored, self.heads, self._mirror(box[None])[0], label)
        return evidence.averaged(other, self.size[1])

    def detect(self, boxes: Tensor) -> Detections:
        """Score the boxes, move them by box regression, and select the best of those that overlap."""
        found = postprocess(self.heads, self.outputs(boxes), boxes, self.size, self.selection)
        return replace(found, classes=self.classes)

    def candidates(self, boxes: Tensor) -> Candidates:
        """Score the boxes and move them by box regression, without selecting: what NMS works on."""
        moved, scores = move_boxes(self.heads, self.outputs(boxes), boxes)
        lowest = minimum_score(self.selection, self.heads.kind)
        return find_candidates(clip_boxes(moved, *self.size), scores, lowest)

    def _mirror(self, boxes: Tensor) -> Tensor:
        return mirror_boxes(boxes, self.size[1])
