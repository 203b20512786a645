"""Sampling of training examples. The regions of an image are its objects first, then its proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sppdet.boxes import box_iou, encode_boxes, nms
from sppdet.config.heads import SoftmaxConfig, SVMConfig
from sppdet.config.training import BoxRegressionConfig
from sppdet.structures import Annotations

RECENT = 64  # images


@dataclass(frozen=True, eq=False)
class ImageRegions:
    """The regions of one image, its objects and its proposals, and their overlap with the objects.

    boxes: float32 (R, 4), the G objects first. annotations: the image's objects. iou: float32 (R, G).
    """

    boxes: Tensor
    annotations: Annotations
    iou: Tensor

    @classmethod
    def from_annotations(cls, annotations: Annotations, proposals: Tensor) -> ImageRegions:
        """Join the objects and the proposals (N, 4) of one image; proposals without area are removed."""
        solid = (proposals[:, 2:] > proposals[:, :2]).all(dim=1)
        boxes = torch.cat([annotations.boxes, proposals[solid]])
        return cls(boxes, annotations, box_iou(boxes, annotations.boxes))

    @property
    def num_objects(self) -> int:
        """G, the number of annotated objects; regions from this index on are proposals."""
        return len(self.annotations.boxes)

    def class_overlaps(self, classes: int) -> Tensor:
        """Return the largest IoU float32 (R, K) with an object of each class, difficult ones included."""
        overlaps = self.iou.new_zeros(len(self.boxes), classes)
        for column, label in zip(self.iou.T, self.annotations.labels.tolist(), strict=True):
            overlaps[:, label - 1] = torch.maximum(overlaps[:, label - 1], column)
        return overlaps

    def match(self) -> tuple[Tensor, Tensor]:
        """Match each region with the object it overlaps most, difficult ones excluded: IoU (R,) and index (R,)."""
        usable = self.iou.masked_fill(self.annotations.difficult, -1.0)
        if usable.shape[1] == 0:
            return usable.new_full((len(usable),), -1.0), torch.zeros(len(usable), dtype=torch.int64)
        best = usable.max(dim=1)
        return best.values, best.indices


class Regions(Sequence[ImageRegions]):
    """The regions of many images, joined when they are asked for; only those of the last few stay in memory."""

    def __init__(
        self, images: Sequence[Annotations], proposals: Sequence[Tensor], indices: Sequence[int] | None = None
    ) -> None:
        """proposals: of each image, float32 (N, 4). indices: of the images to take, by default all."""
        self._images, self._proposals = images, proposals
        self._indices = range(len(images)) if indices is None else indices
        self._join = lru_cache(RECENT)(lambda i: ImageRegions.from_annotations(images[i], proposals[i]))

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, i: Any) -> Any:
        return self._join(self._indices[i])

    def part(self, indices: Sequence[int]) -> Regions:
        """Return the regions of the images with these indices."""
        return Regions(self._images, self._proposals, [self._indices[i] for i in indices])


def svm_targets(regions: ImageRegions, classes: int, svm: SVMConfig) -> Tensor:
    """Return the SVM targets int8 (R, K) (SPPnet, section 4.1).

    +1: an object of the class. -1: a region whose IoU with every object of the class is below `negative_iou`, difficult
    ones included. 0: neither. Difficult objects are never positives.
    """
    targets = -(regions.class_overlaps(classes) < svm.negative_iou).to(torch.int8)
    labels, difficult = regions.annotations.labels, regions.annotations.difficult
    for index in (~difficult).nonzero().flatten().tolist():
        targets[index, labels[index] - 1] = 1
    return targets


def initial_svm_examples(regions: ImageRegions, svm: SVMConfig, rng: np.random.Generator) -> Tensor:
    """Return the indices of the objects that are not difficult and of random proposals as first negatives."""
    objects = (~regions.annotations.difficult).nonzero().flatten()
    proposals = torch.arange(regions.num_objects, len(regions.boxes))
    return torch.cat([objects, sample(proposals, svm.random_negatives, rng)])


def hard_negatives(regions: ImageRegions, scores: Tensor, targets: Tensor, known: Tensor, svm: SVMConfig) -> Tensor:
    """Return the indices of the hardest new negatives, hardest first (SPPnet, section 4.1).

    scores: float32 (R, K). targets: int8 (R, K). known: indices already among the examples. The hardness of a region is
    its best score among the classes it is a negative of. Of regions that overlap by more than `duplicate_iou` the
    hardest is kept.
    """
    hardness = scores.masked_fill(targets >= 0, -torch.inf).max(dim=1).values
    hard = (hardness > svm.hard_margin).nonzero().flatten()
    kept = hard[nms(regions.boxes[hard], hardness[hard], torch.zeros_like(hard), svm.duplicate_iou)]
    kept = kept[~torch.isin(kept, known)]
    return kept[: svm.hard_negatives]


def softmax_examples(regions: ImageRegions, softmax: SoftmaxConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Sample foreground and background (SPPnet, section 4.1): indices and labels int64 (n,), 0 for background."""
    if regions.num_objects == 0:
        background = sample(torch.arange(len(regions.boxes)), softmax.regions_per_image, rng)
        return background, torch.zeros_like(background)
    overlap, best = regions.match()
    most = round(softmax.regions_per_image * softmax.foreground)
    foreground = sample((overlap >= softmax.foreground_iou).nonzero().flatten(), most, rng)
    highest = regions.iou.max(dim=1).values  # difficult objects included: a region that overlaps one is no background
    is_background = (overlap >= softmax.background_iou) & (highest < softmax.foreground_iou)
    background = sample(is_background.nonzero().flatten(), softmax.regions_per_image - len(foreground), rng)
    labels = torch.cat([regions.annotations.labels[best[foreground]], torch.zeros_like(background)])
    return torch.cat([foreground, background]), labels


def box_regression_examples(
    regions: ImageRegions, per_object: list[int], box_regression: BoxRegressionConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sample proposals near an object (R-CNN, appendix C).

    per_object: for each class (index label - 1), the maximum number of examples per object. Returns indices and labels
    int64 (n,), targets float32 (n, 4), and the number of proposals near an object of each class, float32 (K,).
    """
    overlap, best = regions.match()
    overlap[: regions.num_objects] = -1  # the objects themselves have nothing to learn from
    labels = regions.annotations.labels
    chosen, available = [torch.zeros(0, dtype=torch.int64)], torch.zeros(len(per_object))
    for index, label in enumerate(labels.tolist()):
        near = ((overlap > box_regression.iou) & (best == index)).nonzero().flatten()
        available[label - 1] += len(near)
        chosen.append(sample(near, per_object[label - 1], rng))
    indices = torch.cat(chosen)
    objects = best[indices]
    targets = encode_boxes(regions.boxes[indices], regions.annotations.boxes[objects])
    return indices, labels[objects], targets, available


def sample(indices: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Sample up to `count` of the indices without replacement, in ascending order."""
    if len(indices) <= count:
        return indices
    return indices[torch.from_numpy(np.sort(rng.choice(len(indices), max(count, 0), replace=False)))]
