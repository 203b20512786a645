"""Which regions of an image are examples of what. Regions are the image's objects first, then its proposals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sppdet.boxes import box_iou, encode_boxes, nms
from sppdet.config.training import BoxRegressionConfig, SoftmaxConfig, SVMConfig
from sppdet.structures import Annotations


@dataclass(frozen=True, eq=False)
class LabeledProposals:
    """The regions of one image and how they overlap its objects.

    boxes: float32 (R, 4), the G objects first. annotations: of the image. iou: float32 (R, G).
    """

    boxes: Tensor
    annotations: Annotations
    iou: Tensor

    @classmethod
    def from_annotations(cls, annotations: Annotations, proposals: Tensor) -> LabeledProposals:
        """Objects and proposals of one image, proposals without area left out."""
        solid = (proposals[:, 2:] > proposals[:, :2]).all(dim=1)
        boxes = torch.cat([annotations.boxes, proposals[solid]])
        return cls(boxes, annotations, box_iou(boxes, annotations.boxes))

    @property
    def num_objects(self) -> int:
        """G: regions before this index are the annotated objects."""
        return len(self.annotations.boxes)

    def class_overlaps(self, classes: int) -> Tensor:
        """float32 (R, K): the largest IoU with an object of each class, difficult ones included."""
        overlaps = self.iou.new_zeros(len(self.boxes), classes)
        for column, label in zip(self.iou.T, self.annotations.labels.tolist(), strict=True):
            overlaps[:, label - 1] = torch.maximum(overlaps[:, label - 1], column)
        return overlaps

    def match(self) -> tuple[Tensor, Tensor]:
        """IoU (R,) with, and index (R,) of, the object that each region overlaps most; difficult ones do not count."""
        usable = self.iou.masked_fill(self.annotations.difficult, -1.0)
        if usable.shape[1] == 0:
            return usable.new_full((len(usable),), -1.0), torch.zeros(len(usable), dtype=torch.int64)
        best = usable.max(dim=1)
        return best.values, best.indices


def svm_targets(regions: LabeledProposals, classes: int, config: SVMConfig) -> Tensor:
    """int8 (R, K): +1 for an object of the class, -1 for a region whose IoU with every object of it is below
    `negative_iou`, 0 for what is neither (SPPnet, section 4.1). Difficult objects are never positives, and what
    overlaps them is no negative."""
    targets = -(regions.class_overlaps(classes) < config.negative_iou).to(torch.int8)
    labels, difficult = regions.annotations.labels, regions.annotations.difficult
    for index in (~difficult).nonzero().flatten().tolist():
        targets[index, labels[index] - 1] = 1
    return targets


def initial_svm_examples(regions: LabeledProposals, config: SVMConfig, rng: np.random.Generator) -> Tensor:
    """Indices of the objects that are not difficult, and of random proposals to start as negatives."""
    objects = (~regions.annotations.difficult).nonzero().flatten()
    proposals = torch.arange(regions.num_objects, len(regions.boxes))
    return torch.cat([objects, sample(proposals, config.random_negatives, rng)])


def hard_negatives(
    regions: LabeledProposals, scores: Tensor, targets: Tensor, known: Tensor, config: SVMConfig
) -> Tensor:
    """Indices of the hardest new negatives, hardest first.

    scores: float32 (R, K). targets: int8 (R, K). known: indices already among the examples. A region is as hard as its
    best score among the classes it is a negative of; of regions that overlap more than `duplicate_iou` the hardest
    stays (SPPnet, section 4.1).
    """
    hardness = scores.masked_fill(targets >= 0, -torch.inf).max(dim=1).values
    hard = (hardness > config.hard_margin).nonzero().flatten()
    kept = hard[nms(regions.boxes[hard], hardness[hard], torch.zeros_like(hard), config.duplicate_iou)]
    kept = kept[~torch.isin(kept, known)]
    return kept[: config.hard_negatives]


def softmax_examples(
    regions: LabeledProposals, config: SoftmaxConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Indices and labels int64 (n,) of foreground and background regions, 0 for background (SPPnet, section 4.1)."""
    if regions.num_objects == 0:
        background = sample(torch.arange(len(regions.boxes)), config.regions_per_image, rng)
        return background, torch.zeros_like(background)
    overlap, best = regions.match()
    share = round(config.regions_per_image * config.foreground)
    foreground = sample((overlap >= config.foreground_iou).nonzero().flatten(), share, rng)
    highest = regions.iou.max(dim=1).values  # difficult objects included: what overlaps one is no background
    is_background = (overlap >= config.background_iou) & (highest < config.foreground_iou)
    background = sample(is_background.nonzero().flatten(), config.regions_per_image - len(foreground), rng)
    labels = torch.cat([regions.annotations.labels[best[foreground]], torch.zeros_like(background)])
    return torch.cat([foreground, background]), labels


def box_regression_examples(
    regions: LabeledProposals, per_object: list[int], config: BoxRegressionConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (n,), labels (n,) and targets float32 (n, 4) of proposals near an object (R-CNN, appendix C).

    per_object: for each class (index label - 1), at most so many examples an object.
    """
    overlap, best = regions.match()
    overlap[: regions.num_objects] = -1  # the objects themselves have nothing to learn from
    chosen = []
    for index, label in enumerate(regions.annotations.labels.tolist()):
        near = ((overlap > config.iou) & (best == index)).nonzero().flatten()
        chosen.append(sample(near, per_object[label - 1], rng))
    indices = torch.cat([torch.zeros(0, dtype=torch.int64), *chosen])
    objects = best[indices]
    targets = (
        encode_boxes(regions.boxes[indices], regions.annotations.boxes[objects]) if len(indices) else torch.zeros(0, 4)
    )
    return indices, regions.annotations.labels[objects] if len(indices) else indices, targets


def count_box_regression_examples(regions: LabeledProposals, classes: int, config: BoxRegressionConfig) -> Tensor:
    """float32 (K,): how many proposals are near an object of each class, all that could be examples."""
    overlap, best = regions.match()
    near = (overlap[regions.num_objects :] > config.iou).nonzero().flatten() + regions.num_objects
    labels = regions.annotations.labels[best[near]] if len(near) else near
    return torch.bincount(labels, minlength=classes + 1)[1:].float()


def sample(indices: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """At most `count` of the indices, at random, in ascending order."""
    if len(indices) <= count:
        return indices
    return indices[torch.from_numpy(np.sort(rng.choice(len(indices), max(count, 0), replace=False)))]
