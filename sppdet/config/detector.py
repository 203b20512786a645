"""Every parameter of a detector.

The defaults are the paper's where it speaks (He et al. 2014, section 4.1); where the authors' code differs, a named
option says so. Nothing here imports torch, so that `sppdet --help` stays quick.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from sppdet.config.data import ProposalConfig
from sppdet.config.network import NetworkConfig
from sppdet.config.record import at_least, fraction, section
from sppdet.errors import ConfigError

FeatureKind = Literal["spp", "crop", "roi_pool", "roi_align"]
WindowRule = Literal["paper", "code", "round"]
ScaleRule = Literal["paper", "code"]


@section("spp")
class SPPConfig:
    """Features of a whole-image pass (features: spp; scales of roi_pool and roi_align too).

    Args:
        scales: the image is resized so that its shorter side is each of these, in pixels.
        window_rule: how a box becomes a window of cells: the paper's, the authors' code's, or Fast R-CNN's rounding.
        scale_rule: how a window's scale is chosen among several: the paper's (area nearest 224^2) or the code's.
    """

    scales: tuple[int, ...] = at_least(1, (688,))
    window_rule: WindowRule = "paper"
    scale_rule: ScaleRule = "paper"


@section("roi")
class RoIConfig:
    """Features of one grid of bins a region, from the whole-image pass at `spp.scales`: Fast R-CNN's, `pyramid.mode` of
    windows rounded to cells (features: roi_pool), or Mask R-CNN's, without rounding (roi_align).

    Args:
        size: bins a side, in place of pyramid.levels.
        samples: of a bin of roi_align, in each direction.
    """

    size: int = at_least(1, 6)
    samples: int = at_least(1, 2)


@section("crop")
class CropConfig:
    """Features of warped crops (features: crop), as in R-CNN.

    Args:
        size: side of the warped crop in pixels.
        context: pixels of the crop's border that show what surrounds the box.
        batch_size: crops in one pass of the network; on CPUs a few are quickest, on GPUs many.
    """

    size: int = 227
    context: int = at_least(0, 16)
    batch_size: int = at_least(1, 4)

    def check(self) -> None:
        if 2 * self.context >= self.size:
            expected = f"less than half of crop.size {self.size}"
            raise ConfigError("leaves nothing of the box", field="crop.context", expected=expected, got=self.context)


@section("selection")
class SelectionConfig:
    """Which scored regions become detections.

    Args:
        min_score: scores must be greater; null: -1.5 for SVMs, 0.01 for softmax.
        nms_iou: a box is suppressed when its IoU with a better one of its class is greater.
        max_per_class: at most so many detections a class and image; 0: all.
    """

    min_score: float | None = None
    nms_iou: float = fraction(0.3)
    max_per_class: int = at_least(0, 100)


@section("")
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
