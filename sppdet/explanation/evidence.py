"""Where a score comes from, exactly: which bins of the pyramid and which cells of conv5 speak for it, and against it.

A score is a sum over features of weight times feature, and a feature is the value of one cell (max) or a weighted mean
of several (average, RoI Align). So the score is homogeneous in the maps: the sum over all cells of value times gradient
is the score without its bias (Euler's theorem), and nothing is left over. Lengths that vectors are divided by count as
constants (pyramid.unit_length). Fully connected layers with their ReLUs break the sum; there is no exact evidence below
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sppdet.errors import ConfigError, InputError
from sppdet.features.extractor import ImageFeatures
from sppdet.heads.linear import Heads


@dataclass(frozen=True, eq=False)
class MapEvidence:
    """The part of a score that one feature map gives.

    window: the region on the map, x1 y1 x2 y2 in cells. bins: for each level of n bins per side, float64 (n, n).
    cells: float64 (h, w). Both sum to the same. first_cell: cell (0, 0), x1 y1 x2 y2 in pixels of the original image.
    """

    window: tuple[float, ...]
    bins: tuple[Tensor, ...]
    cells: Tensor
    first_cell: tuple[float, float, float, float]

    @property
    def total(self) -> float:
        return float(self.cells.sum())

    def half(self) -> MapEvidence:
        return replace(self, bins=tuple(each / 2 for each in self.bins), cells=self.cells / 2)

    def mirrored(self, width: int) -> MapEvidence:
        """Return the same in the mirror image, whose width is given in pixels."""
        columns, (left, y1, right, y2), (x1, top, x2, bottom) = self.cells.shape[1], self.window, self.first_cell
        end = x1 + columns * (x2 - x1)  # of the last cell, which becomes the first
        return MapEvidence(
            (columns - right, y1, columns - left, y2),
            tuple(each.flip(1) for each in self.bins),
            self.cells.flip(1),
            (width - end, top, width - end + x2 - x1, bottom),
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """A score divided over bins and cells: score = bias + the sum of all cells = bias + the sum of all bins.

    box: float32 (4,), in pixels of the original image, as it was pooled. label: 1..K. score, bias: of a softmax head
    the logit. maps: parts of the network's maps, then of those of the mirror image if regions are scored there,
    mirrored back. scores: float64 (K,), the same kind of score for each class.
    """

    box: Tensor
    label: int
    score: float
    bias: float
    maps: tuple[MapEvidence, ...]
    scores: Tensor

    def averaged(self, other: Evidence, width: int) -> Evidence:
        """Average with the evidence in the mirror image, of `width` pixels: each half is a part of the mean score."""
        maps = [part.half() for part in self.maps] + [part.mirrored(width).half() for part in other.maps]
        score, scores = (self.score + other.score) / 2, (self.scores + other.scores) / 2
        return replace(self, score=score, maps=tuple(maps), scores=scores)

    def rivals(self, count: int = 3) -> list[tuple[int, float]]:
        """Return label and score of the other classes with the highest scores."""
        order = [k + 1 for k in self.scores.argsort(descending=True).tolist()]
        return [(k, float(self.scores[k - 1])) for k in order if k != self.label][:count]

    def on_image(self, height: int, width: int) -> Tensor:
        """Spread the cells of all maps over an image: float64 (H, W), per pixel. Parts of cells outside are lost."""
        image = torch.zeros(height, width, dtype=torch.float64)
        for part in self.maps:
            x1, y1, x2, y2 = part.first_cell
            rows, columns = _cell_of((y1, y2), height), _cell_of((x1, x2), width)
            seen = part.cells / ((x2 - x1) * (y2 - y1))
            inside = ((rows >= 0) & (rows < len(seen)))[:, None] & ((columns >= 0) & (columns < seen.shape[1]))
            image += seen[rows.clamp(0, len(seen) - 1)][:, columns.clamp(0, seen.shape[1] - 1)] * inside
        return image

    def as_dict(self) -> dict[str, Any]:
        maps = [
            {
                "window": list(part.window),
                "total": part.total,
                "levels": [each.tolist() for each in part.bins],
                "cells": part.cells.tolist(),
                "first_cell": list(part.first_cell),
            }
            for part in self.maps
        ]
        numbers = {"box": self.box.tolist(), "label": self.label, "score": self.score, "bias": self.bias}
        return numbers | {"scores": self.scores.tolist(), "maps": maps}


def find_evidence(image: ImageFeatures, heads: Heads, box: Tensor, label: int) -> Evidence:
    """Divide the score of label 1..K for one box float32 (4,) of an encoded image.

    Raises InputError for a label that is none, ConfigError for features that passed through fully connected layers.
    """
    if not 1 <= label <= heads.num_classes:
        raise InputError("no such class", field="label", expected=f"1..{heads.num_classes}", got=label)
    extractor = image.extractor
    if extractor.layers is not None:
        reason = "a score behind fully connected layers is no sum over bins and cells"
        raise ConfigError(reason, field="fc.depth", expected=0, got=len(extractor.layers))
    with torch.inference_mode(False), torch.enable_grad():
        region = image.pool_region(box)
        weight, bias = heads.class_weights()  # (K, D), (K,)
        own = weight[label - 1].to(region.pooled.device)
        gradients = torch.autograd.grad((region.pooled[0] * own).sum(), region.maps)
    pooled = region.pooled[0].detach().double()
    products = (pooled * own.double()).cpu().split(extractor.pooling.lengths)
    parts = []
    for k, (form, product) in enumerate(zip(extractor.pooling.forms, products, strict=True)):
        values = region.maps[k].detach()[0].double() * gradients[k][0].double()
        bins, places = product.view(sum(n * n for n in form.levels), -1).sum(dim=1), [n * n for n in form.levels]
        levels = tuple(each.view(n, n) for each, n in zip(bins.split(places), form.levels, strict=True))
        parts.append(MapEvidence(tuple(region.windows[k]), levels, values.sum(dim=0).cpu(), region.first_cells[k]))
    scores = (weight.double() @ pooled + bias.double()).cpu()
    return Evidence(box, label, float(scores[label - 1]), float(bias[label - 1]), tuple(parts), scores)


def _cell_of(first: tuple[float, float], pixels: int) -> Tensor:
    """Return the cell int64 (pixels,) that holds the middle of each pixel along an axis."""
    start, end = first
    return ((torch.arange(pixels, dtype=torch.float64) + 0.5 - start) / (end - start)).floor().long()
