"""What the features of both modes have in common.

They are used in two steps, which is what makes SPPnet fast: `encode(image)` once, then `.features(boxes)` as often as
wished. For SPPnet the first step holds the network; for R-CNN the second does. Fully connected layers, where a detector
has them, end the second step of both.

The features of 2,000 regions take 200 MB, which is more to move than to compute. Who needs only what a linear layer
makes of them calls `apply`: the features pass through it part by part, in the same memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.network import Precision
from sppdet.images import normalize
from sppdet.runtime.stopwatch import stage

PART_BYTES = 2**26  # of features that exist at a time while a function is applied to them


class ImageFeatures(Protocol):
    """An image made ready; features of any boxes may be asked for, any number of times.

    Boxes are float32 (N, 4), in pixels of the original image.
    """

    def features(self, boxes: Tensor) -> Tensor:
        """Region features float32 (N, D)."""
        ...

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        """The same in consecutive parts (n, D); each is overwritten by the next."""
        ...

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Which boxes (M,) have features of their own, and for each box (N,) which of them it shares."""
        ...


def apply(encoded: ImageFeatures, boxes: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function` of the features of boxes (N, 4), row by row: (n, D) -> (n, ...). Features that several boxes share
    are computed once."""
    first, shared = encoded.distinct(boxes)
    if not len(boxes):
        return function(encoded.features(boxes))
    return torch.cat([function(part) for part in encoded.parts(boxes[first])])[shared]


class FeatureExtractor(ABC):
    """A network, whose maps are pooled, and the layers that follow, where there are any: features of length
    `dimension` from pooled ones of length `pooled`. `precision` is that of the convolutions."""

    def __init__(
        self,
        backbone: Backbone,
        pooled: int,
        precision: Precision = "fp32",
        layers: FullyConnected | None = None,
    ) -> None:
        self.backbone, self.pooled, self.precision, self.layers = backbone, pooled, precision, layers
        self.dimension = pooled if layers is None else layers.dimension

    @abstractmethod
    def encode(self, image: Tensor) -> ImageFeatures:
        """Do what is done once an image uint8 (3, H, W)."""

    @abstractmethod
    def pool(self, image: Tensor, boxes: Tensor, scale: float) -> Tensor:
        """Pooled features (n, pooled) of boxes in an image uint8 (3, H, W), with gradients. Where there are several
        scales, all boxes are at one: that at the share `scale`, in [0, 1), of the list."""

    def normalize(self, images: Tensor) -> Tensor:
        """Images uint8 (B, 3, H, W) as the network wants them, on its device."""
        return normalize(images.to(self.backbone.device), self.backbone.mean, self.backbone.std)

    def empty(self, count: int) -> Tensor:
        """Memory for so many pooled features."""
        return torch.empty(count, self.pooled, device=self.backbone.device)

    def apply_layers(self, pooled: Tensor) -> Tensor:
        """Pooled features (n, pooled) through the fully connected layers: (n, dimension)."""
        if self.layers is None:
            return pooled
        with stage("heads"):
            return self.layers(pooled)

    def join(self, parts: Iterator[Tensor], count: int) -> Tensor:
        """Features (count, dimension) from their parts."""
        joined = torch.empty(count, self.dimension, device=self.backbone.device)
        start = 0
        for part in parts:
            joined[start : start + len(part)] = part
            start += len(part)
        return joined


@contextmanager
def inference(backbone: Backbone, precision: Precision) -> Iterator[None]:
    """Convolutions without gradients, in half precision where asked for."""
    with torch.inference_mode(), backbone.autocast(precision):
        yield
