"""The interface of all region features.

They are computed in two steps, which is what makes SPPnet fast: `encode(image)` once, then `.features(boxes)` any
number of times. SPPnet runs the network in the first step, R-CNN in the second. Fully connected layers, if there are
any, end the second step of both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.detector import CropConfig, SPPConfig
from sppdet.files.atomic import hash_tensors
from sppdet.pooling.joined import JoinedPooling
from sppdet.runtime.stopwatch import stage


@dataclass(frozen=True, eq=False)
class PooledRegion:
    """A region on the maps that it is pooled from, with gradients of its vector (1, D) with respect to them; lengths
    that it was divided by are constants.

    maps: float32 (1, C, h, w) each. windows: (M, 4), the region on each of M maps, x1 y1 x2 y2 in cells. first_cells:
    cell (0, 0) of each map, x1 y1 x2 y2 in pixels of the original image.
    """

    maps: tuple[Tensor, ...]
    windows: list[list[float]]
    first_cells: list[tuple[float, float, float, float]]
    pooled: Tensor


class ImageFeatures(ABC):
    """An encoded image, from which region features can be computed any number of times.

    Boxes are float32 (N, 4), in pixels of the original image.
    """

    extractor: FeatureExtractor

    @abstractmethod
    def chunks(self, boxes: Tensor) -> Iterator[Tensor]:
        """Yield region features float32 (n, D) in consecutive chunks; each is overwritten by the next."""

    def features(self, boxes: Tensor) -> Tensor:
        """Compute region features float32 (N, D)."""
        features = torch.empty(len(boxes), self.extractor.dimension, device=self.extractor.backbone.device)
        start = 0
        for chunk in self.chunks(boxes):
            features[start : start + len(chunk)] = chunk
            start += len(chunk)
        return features

    @abstractmethod
    def pool_region(self, box: Tensor) -> PooledRegion:
        """Pool one box float32 (4,)."""

    def unique_windows(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return indices (M,) of boxes with distinct features, and for each box (N,) its position among them."""
        indices = torch.arange(len(boxes))  # by default no box shares its features with another
        return indices, indices


def apply_to_features(image: ImageFeatures, boxes: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a row-wise function, (n, D) to (n, ...), to the features of boxes (N, 4).

    The features are computed chunk by chunk in one buffer, because those of 2,000 regions, 200 MB, take longer to move
    than to compute; those that several boxes share once. Only equal calls give equal bits.
    """
    if not len(boxes):
        return function(image.features(boxes))
    first, inverse = image.unique_windows(boxes)
    return torch.cat([function(chunk) for chunk in image.chunks(boxes[first])])[inverse]


class FeatureExtractor(nn.Module, ABC):
    """The network up to the heads: convolutions, pooling and, optionally, fully connected layers.

    pooled_dimension: length of the pooled features. dimension: D, length of the features, after the layers.
    """

    CHUNK_BYTES: ClassVar[int] = 2**26  # bytes of features held at a time by `apply_to_features` on the CPU
    per_region: ClassVar[bool]  # the network runs once per region, as in R-CNN, rather than once per image

    def __init__(
        self,
        backbone: Backbone,
        pooling: JoinedPooling,
        config: SPPConfig | CropConfig,
        layers: FullyConnected | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.pooling, self.config, self.layers = backbone, pooling, config, layers
        self.pooled_dimension = pooling.dimension
        self.dimension = self.pooled_dimension if layers is None else layers.dimension
        self.eval()

    @abstractmethod
    def encode(self, image: Tensor) -> ImageFeatures:
        """Compute everything of an image uint8 (3, H, W) that does not depend on the boxes."""

    @abstractmethod
    def pool(self, image: Tensor, boxes: Tensor, scale_position: float) -> Tensor:
        """Compute pooled features (n, pooled_dimension) of boxes in an image uint8 (3, H, W), with gradients.

        scale_position: position in [0, 1) in the list of scales, if there are several; all boxes are pooled there.
        """

    @abstractmethod
    def store(self, image: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """Return the smallest tensors of an image uint8 (3, H, W) from which `restore` recovers the features of these
        boxes (N, 4) without the network."""

    @abstractmethod
    def restore(self, stored: Mapping[str, Tensor], size: tuple[int, int], boxes: Tensor) -> ImageFeatures:
        """Rebuild the result of `encode` from the tensors of `store` for an image of `size` (H, W) and the same boxes,
        which are the only ones with features if `per_region`."""

    @abstractmethod
    def cache_key(self) -> tuple[object, ...]:
        """Return everything that the stored tensors depend on besides the image and, if `per_region`, the boxes."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the settings that decide the speed, under their names in a comparison's JSON."""

    def network_key(self) -> tuple[object, ...]:
        """Return everything that the feature maps depend on besides their input."""
        backbone = self.backbone
        return backbone.name, hash_tensors(backbone.state_dict().values()), backbone.device.type, backbone.precision

    def empty(self, count: int) -> Tensor:
        """Allocate memory for pooled features (count, pooled_dimension)."""
        return torch.empty(count, self.pooled_dimension, device=self.backbone.device)

    def chunk_rows(self, length: int) -> int:
        """Return the number of rows of `length` float32 values to hold at a time, 16 times as many on a GPU."""
        chunk = self.CHUNK_BYTES if self.backbone.device.type == "cpu" else 16 * self.CHUNK_BYTES
        return max(1, chunk // (4 * length))

    def apply_layers(self, pooled: Tensor) -> Tensor:
        """Pass pooled features (n, pooled_dimension) through the fully connected layers: (n, dimension)."""
        if self.layers is None:
            return pooled
        with stage("heads"):
            return self.layers(pooled)
