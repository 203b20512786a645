"""The network of a detector or classifier, up to its heads."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from sppdet.config.record import at_least, section, within

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]


@section("backbone")
class BackboneConfig:
    """The convolutional network, up to its last convolution (conv5).

    Args:
        name: alexnet, caffenet, zf5, squeezenet1_0, squeezenet1_1, vgg16, vgg16_caffe, resnet18, resnet50 or shapenet;
            vgg16_caffe pools as the original does, vgg16 as torchvision's.
        weights: a weight file (`sppdet convert` makes one of Caffe's), a name of torchvision's weights enum ("DEFAULT",
            "IMAGENET1K_V1"), or "random".
    """

    name: str = "squeezenet1_0"
    weights: str = "DEFAULT"


@section("pyramid")
class PyramidConfig:
    """Spatial pyramid pooling of a region's conv5 cells (section 2.2).

    Args:
        levels: bins a side of each level.
        mode: max or average of a bin's cells.
    """

    levels: tuple[int, ...] = at_least(1, (6, 3, 2, 1))
    mode: Literal["max", "average"] = "max"


@section("fc")
class FCConfig:
    """Fully connected layers between pooling and heads (SPPnet, section 4; R-CNN, section 2.1).

    Args:
        depth: 0: heads on the pooled features (pool5); 1: on those of fc6; 2: of fc7. alexnet, caffenet and vgg16 bring
            theirs with their weights and need the level (or roi.size) that fits, 6 or 7; zf5 brings its own and needs
            6, 3, 2 and 1; other networks get random ones.
        width: features that each of the random layers gives.
    """

    depth: int = within(0, 2, 0)
    width: int = at_least(1, 4096)


@section("")
class NetworkConfig:
    """The network of a detector or classifier, up to its heads."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    fc: FCConfig = field(default_factory=FCConfig)

    @property
    def levels(self) -> tuple[int, ...]:
        """Bins a side of each grid that is pooled over."""
        return tuple(self.pyramid.levels)
