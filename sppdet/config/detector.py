"""Parameters of a detector.

Defaults follow the paper (He et al. 2014, section 4.1); options named after the code select what the authors' code does
differently. Nothing here imports torch, so that `sppdet --help` stays quick.
"""

from dataclasses import field
from math import inf
from typing import Literal

from sppdet.config.data import ProposalConfig
from sppdet.config.heads import HeadKind
from sppdet.config.network import NetworkConfig
from sppdet.config.record import any_number, at_least, fraction, section
from sppdet.errors import ConfigError

FeatureKind = Literal["spp", "crop", "roi_pool", "roi_align"]
WindowRule = Literal["paper", "code", "round"]
ScaleRule = Literal["paper", "code"]


@section("spp")
class SPPConfig:
    """Features from one pass over the whole image (features spp; the scales also of roi_pool and roi_align).

    Args:
        scales: shorter sides of the resized image, in pixels.
        window_rule: rounding of boxes to windows of cells: the paper's, the authors' code's, or Fast R-CNN's (round).
        scale_rule: choice of one scale per window: the paper's (area nearest to 224^2) or the authors' code's.
    """

    scales: tuple[int, ...] = at_least(1, (688,), 8192)
    window_rule: WindowRule = "paper"
    scale_rule: ScaleRule = "paper"


@section("roi")
class RoIConfig:
    """Features of one grid of bins per region, from one pass over the whole image at `spp.scales`.

    roi_pool pools windows rounded to cells (Fast R-CNN) with `pyramid.mode`; roi_align does not round (Mask R-CNN).

    Args:
        size: bins per side on each map, used instead of pyramid.levels and pyramid.last_levels.
        samples: points per bin and direction, for roi_align.
    """

    size: int = at_least(1, 6, 64)
    samples: int = at_least(1, 2, 64)


@section("crop")
class CropConfig:
    """Features of warped crops (features crop), as in R-CNN.

    Args:
        size: side of the warped crop, in pixels.
        context: width of the border that shows the surroundings of the box, in pixels of the crop.
        batch_size: crops per pass of the network; a few are fastest on CPUs, many on GPUs.
    """

    size: int = at_least(1, 227, 4096)
    context: int = at_least(0, 16)
    batch_size: int = at_least(1, 4)

    def check(self) -> None:
        if 2 * self.context >= self.size:
            expected = f"less than half of crop.size {self.size}"
            raise ConfigError("leaves nothing of the box", field="crop.context", expected=expected, got=self.context)


@section("selection")
class SelectionConfig:
    """Selection of detections from the scored regions.

    Args:
        min_score: scores must be greater; null: -1.5 for SVMs, 0.01 for softmax.
        nms_iou: IoU with a better box of the class above which a box is suppressed.
        max_per_class: maximum number of detections per class and image; 0: all.
        vote_iou: IoU from which boxes of the class vote on the place of a detection, with their scores above min_score
            as weights; 1: no voting.
    """

    min_score: float | None = any_number(None)
    nms_iou: float = fraction(0.3)
    max_per_class: int = at_least(0, 100)
    vote_iou: float = fraction(1.0)

    def check(self) -> None:
        if self.vote_iou < 1 and self.min_score in (-inf, inf):
            reason = "leaves no weights to vote with"
            raise ConfigError(reason, field="selection.min_score", expected="a finite score", got=self.min_score)


@section("")
class DetectorConfig(NetworkConfig):
    """Everything that turns an image into detections, except the weights; stored in the detector's file."""

    features: FeatureKind = "spp"
    head: HeadKind = "svm"
    mirror: bool = False
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    spp: SPPConfig = field(default_factory=SPPConfig)
    roi: RoIConfig = field(default_factory=RoIConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        levels = super().levels
        return ((self.roi.size,),) * len(levels) if self.features in ("roi_pool", "roi_align") else levels
