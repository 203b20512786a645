"""Every parameter of a detector, as frozen records read from YAML and dotted overrides.

The defaults are the paper's where it speaks (He et al. 2014, section 4.1); where the authors' code differs, a named
option says so. Nothing here imports torch, so that `sppdet --help` stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from os import PathLike
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from sppdet.errors import ConfigError

T = TypeVar("T")

FeatureKind = Literal["spp", "crop", "roi_pool", "roi_align"]
Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class DataConfig:
    """Where the images and their annotations are.

    Args:
        root: VOC layout: the year's folder, VOCdevkit or its parent. COCO format: the folder of images.
        split: image list in ImageSets/Main. For COCO format only a name.
        annotations: COCO-format annotation file; setting it means the data are in COCO format.
        year: VOC year, where root holds more than one.
        classes: class names in the order of their labels; found from the data when not given.
        images: only the first so many images of the split.
    """

    root: str = ""
    split: str = "trainval"
    annotations: str | None = None
    year: str | None = None
    classes: list[str] | None = None
    images: int | None = None


@dataclass(frozen=True)
class ProposalConfig:
    """Selective search (Uijlings et al. 2013), or proposals made by another program.

    Args:
        mode: fast or quality, with the paper's settings; opencv_fast or opencv_quality, with those of OpenCV.
        width: the image is resized to this width first, as R-CNN did, and boxes are scaled back; null: as it is.
        min_side: boxes with a side under this many pixels of the searched image are dropped.
        limit: at most this many boxes an image, best first.
        file: proposals made by another program (COCO-style .json, .npz, R-CNN's .mat) in place of selective search.
    """

    mode: Literal["fast", "quality", "opencv_fast", "opencv_quality"] = "fast"
    width: int | None = 500
    min_side: int = 20
    limit: int = 2000
    file: str | None = None


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class PyramidConfig:
    """Spatial pyramid pooling of a region's conv5 cells (section 2.2).

    Args:
        levels: bins a side of each level.
        mode: max or average of a bin's cells.
    """

    levels: tuple[int, ...] = (6, 3, 2, 1)
    mode: Literal["max", "average"] = "max"


@dataclass(frozen=True)
class LayersConfig:
    """Fully connected layers between pooling and heads (SPPnet, section 4; R-CNN, section 2.1).

    Args:
        depth: 0: heads on the pooled features (pool5); 1: on those of fc6; 2: of fc7. alexnet, caffenet and vgg16 bring
            theirs with their weights and need the level (or roi.size) that fits, 6 or 7; zf5 brings its own and needs
            6, 3, 2 and 1; other networks get random ones.
        width: features that each of the random layers gives.
    """

    depth: int = 0
    width: int = 4096


@dataclass(frozen=True)
class SPPConfig:
    """Features of a whole-image pass (features: spp; scales of roi_pool and roi_align too).

    Args:
        scales: the image is resized so that its shorter side is each of these, in pixels.
        rule: how a box becomes a window of cells: the paper's, the authors' code's, or Fast R-CNN's rounding.
        scale_rule: how a window's scale is chosen among several: the paper's (area nearest 224^2) or the code's.
    """

    scales: tuple[int, ...] = (688,)
    rule: Literal["paper", "code", "round"] = "paper"
    scale_rule: Literal["paper", "code"] = "paper"


@dataclass(frozen=True)
class RoIConfig:
    """Features of one grid of bins a region, from the whole-image pass at `spp.scales`: Fast R-CNN's, `pyramid.mode` of
    windows rounded to cells (features: roi_pool), or Mask R-CNN's, without rounding (roi_align).

    Args:
        size: bins a side, in place of pyramid.levels.
        samples: of a bin of roi_align, in each direction.
    """

    size: int = 6
    samples: int = 2


@dataclass(frozen=True)
class CropConfig:
    """Features of warped crops (features: crop), as in R-CNN.

    Args:
        size: side of the warped crop in pixels.
        context: pixels of the crop's border that show what surrounds the box.
        batch: crops in one pass of the network; on CPUs a few are quickest, on GPUs many.
    """

    size: int = 227
    context: int = 16
    batch: int = 4


@dataclass(frozen=True)
class SelectionConfig:
    """Which scored regions become detections.

    Args:
        score: scores must be greater; null: -1.5 for SVMs, 0.01 for softmax.
        nms_iou: a box is suppressed when its IoU with a better one of its class is greater.
        per_class: at most so many detections a class and image; 0: all.
    """

    score: float | None = None
    nms_iou: float = 0.3
    per_class: int = 100


@dataclass(frozen=True)
class NetworkConfig:
    """The network of a detector or classifier, up to its heads."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)

    @property
    def levels(self) -> tuple[int, ...]:
        """Bins a side of each grid that is pooled over."""
        return tuple(self.pyramid.levels)


@dataclass(frozen=True)
class DetectorConfig(NetworkConfig):
    """What a detector is, as stored in its file: all that turns an image into detections except the weights."""

    features: FeatureKind = "spp"
    head: Literal["svm", "softmax"] = "svm"
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    spp: SPPConfig = field(default_factory=SPPConfig)
    roi: RoIConfig = field(default_factory=RoIConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    @property
    def levels(self) -> tuple[int, ...]:
        return (self.roi.size,) if self.features in ("roi_pool", "roi_align") else super().levels


def config_from_dict(kind: type[T], values: dict[str, Any], file: str | PathLike[str] | None = None) -> T:
    """A configuration record from the plain values that `dataclasses.asdict` gave, lists back to tuples.

    Raises ConfigError that names the file and the first key that is unknown or whose value cannot be read.
    """
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError("unknown configuration key", file=file, field=name, expected=", ".join(sorted(hints)))
        nested, several = is_dataclass(hints[name]), get_origin(hints[name]) is tuple
        if (nested and not isinstance(value, dict)) or (several and not isinstance(value, (list, tuple))):
            raise ConfigError("cannot be read", file=file, field=name, expected="keys" if nested else "list", got=value)
        if nested:
            value = config_from_dict(hints[name], value, file)
        elif several:
            value = tuple(value)
        arguments[name] = value
    return kind(**arguments)
