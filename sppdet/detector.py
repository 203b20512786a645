"""The detector: image -> proposals -> region features -> heads -> detections, in a row; save and load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.backbones.zoo import build_backbone
from sppdet.boxes import clip_boxes, decode_boxes
from sppdet.config.detector import DetectorConfig, FeatureKind
from sppdet.config.network import Precision
from sppdet.config.record import as_dict, from_dict
from sppdet.errors import ConfigError, InputError, WeightsError
from sppdet.features.build import build_extractor
from sppdet.features.extractor import ImageFeatures, map_features
from sppdet.files.atomic import load_tensors, save_tensors, with_prefix
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import Calibration
from sppdet.heads.linear import BoxRegressor, LinearHead
from sppdet.images import as_image
from sppdet.postprocess import select
from sppdet.proposals.cache import propose_image
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.stopwatch import stage
from sppdet.structures import Detections, check_boxes

if TYPE_CHECKING:
    from sppdet.images import ImageLike


class Detector:
    """A region-based detector.

    config: how it works. classes: names of labels 1..K. thresholds: float32 (K,), the scores from which on a class
    is worth drawing; they do not limit what is detected. layers: as `build_fully_connected` gives them for config.
    calibration: makes probabilities of scores. Detections come best score first.
    """

    def __init__(
        self,
        config: DetectorConfig,
        classes: Sequence[str],
        backbone: Backbone,
        head: LinearHead,
        regressor: BoxRegressor | None = None,
        thresholds: Tensor | None = None,
        layers: FullyConnected | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.config, self.classes, self.backbone, self.layers = config, tuple(classes), backbone, layers
        self.extractor = build_extractor(config, backbone, layers)
        if self.extractor.dimension != head.weight.shape[1]:
            lengths = self.extractor.dimension, head.weight.shape[1]
            raise ConfigError("heads of other features", field="features", expected=lengths[1], got=lengths[0])
        self.head = head.to(backbone.device)
        self.regressor = regressor.to(backbone.device) if regressor else None
        boxes = [self.regressor] if self.regressor else []
        self._weights = torch.cat([self.head.weight, *(layer.weight for layer in boxes)])
        self._biases = torch.cat([self.head.bias, *(layer.bias for layer in boxes)])
        self.thresholds = torch.zeros(len(classes)) if thresholds is None else thresholds
        self.calibration = calibration

    def __call__(self, images: Sequence[Tensor], proposals: Sequence[Tensor] | None = None) -> list[dict[str, Tensor]]:
        """torchvision's convention: images (3, H, W), uint8 or float in [0, 1], to dict(boxes, labels, scores) each.

        proposals: float32 (N, 4) for each image; selective search where not given.
        """
        if proposals is not None and len(proposals) != len(images):
            raise InputError("one set for each image", field="proposals", expected=len(images), got=len(proposals))
        found = (self.detect(image, None if proposals is None else proposals[i]) for i, image in enumerate(images))
        return [detections.as_dict() for detections in found]

    def detect(self, image: ImageLike, proposals: Tensor | None = None) -> Detections:
        """Detect objects in one image; the proposals are selective search's where not given."""
        pixels = as_image(image)
        if proposals is None:
            with stage("proposals"):
                proposals = propose_image(pixels, self.config.proposals)
        return self.encode(pixels).detect(proposals)

    def detect_files(self, files: Sequence[ImageLike], proposals: Sequence[Tensor]) -> list[Detections]:
        """Everything found in each image (a path or pixels), given its proposals, with a progress bar."""
        pairs = zip(files, proposals, strict=True)
        bar = tqdm(pairs, desc="detect", unit="image", total=len(files))
        return [self.detect(file, boxes) for file, boxes in trim_memory(bar)]

    def encode(self, image: ImageLike) -> EncodedImage:
        """Do once what is done once an image; then ask for `.features`, `.score` or `.detect` of any boxes."""
        pixels = as_image(image)
        return EncodedImage(self, self.extractor.encode(pixels), (pixels.shape[1], pixels.shape[2]))

    def apply_heads(self, features: Tensor) -> Tensor:
        """All heads in one matrix product: region features (N, D) to (N, heads), which `detections` takes apart."""
        return torch.addmm(self._biases, features, self._weights.T)

    def detections(self, outputs: Tensor, boxes: Tensor, size: tuple[int, int]) -> Detections:
        """Detections from what `apply_heads` made of boxes (N, 4) in an image of size (H, W): regress the boxes, and
        keep the best of those that overlap."""
        with stage("heads"), torch.inference_mode():
            scores = self.head.finish(outputs[:, : len(self.head.bias)])  # (N, K)
            boxes = boxes.to(scores.device)
            moved = boxes[:, None].expand(-1, scores.shape[1], -1)  # (N, K, 4)
            if self.regressor:
                moved = decode_boxes(boxes, outputs[:, len(self.head.bias) :].unflatten(1, (-1, 4)))
        with stage("nms"):
            return select(clip_boxes(moved, *size), scores, self.config.selection, self.head.kind)

    def probabilities(self, detections: Detections) -> Detections:
        """The same detections with scores that are probabilities of being right. Raises WeightsError for a detector
        without calibration: one whose file is older, or that was not trained."""
        if self.calibration is None:
            raise WeightsError("the detector has none", field="calibration", expected="one of `sppdet train`")
        return self.calibration.calibrate(detections)

    def with_config(self, config: DetectorConfig) -> Detector:
        """The same network and heads, used as `config` says: with other region features, batches or limits."""
        return self._with(config, self.layers)

    def with_features(self, features: FeatureKind) -> Detector:
        """The same network and heads with features of another kind, of the same length, to compare their times."""
        pyramid = replace(self.config.pyramid, levels=self.config.levels)
        return self.with_config(replace(self.config, features=features, pyramid=pyramid))

    def truncated(self, ranks: Sequence[int]) -> Detector:
        """The same detector, each of its fully connected layers approximated by one of this rank: faster, with a
        little less mAP (Fast R-CNN, section 3.1). Raises ConfigError unless there is a rank for every layer."""
        if self.layers is None:
            wanted = ", ".join(map(str, ranks))
            reason = "the detector has no fully connected layers to truncate (fc.depth is 0)"
            raise ConfigError(reason, field="svd", got=f"[{wanted}]")
        return self._with(self.config, self.layers.truncated(ranks))

    def without_box_regression(self) -> Detector:
        """The same detector, whose detections are proposals as they are."""
        heads = (self.head, None, self.thresholds)
        return Detector(self.config, self.classes, self.backbone, *heads, self.layers)

    def _with(self, config: DetectorConfig, layers: FullyConnected | None) -> Detector:
        heads = (self.head, self.regressor, self.thresholds)
        return Detector(config, self.classes, self.backbone, *heads, layers, self.calibration)

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, classes and configuration into one safetensors file."""
        tensors = {f"backbone.{name}": value for name, value in self.backbone.state_dict().items()}
        if self.layers is not None:
            tensors |= {f"layers.{name}": value for name, value in self.layers.state_dict().items()}
        tensors |= {"head.weight": self.head.weight, "head.bias": self.head.bias, "thresholds": self.thresholds}
        if self.regressor:
            tensors |= {"regressor.weight": self.regressor.weight, "regressor.bias": self.regressor.bias}
        if self.calibration:
            tensors |= {"calibration.knots": self.calibration.knots, "calibration.slope": self.calibration.slope}
        save_tensors(path, tensors, {"config": as_dict(self.config), "classes": self.classes, "head": self.head.kind})

    @classmethod
    def load(cls, path: str | PathLike[str], device: str = "cpu", precision: Precision = "fp32") -> Detector:
        """Read a detector from its file or the run folder that holds it.

        Raises WeightsError where there is none or it is damaged, and ConfigError where its configuration is unknown or
        the device is not there.
        """
        file = RunFolder(path).find_detector()
        tensors, header = load_tensors(file)
        try:
            config = from_dict(DetectorConfig, header["config"], file)
            backbone = build_backbone(config.backbone.name, "random", device, precision)
            backbone.load_state_dict(with_prefix("backbone.", tensors))
            layers = None
            if config.fc.depth:
                layers = FullyConnected.from_tensors(with_prefix("layers.", tensors), config.fc.depth)
                layers.to(backbone.device)
            head = LinearHead(header["head"], tensors["head.weight"], tensors["head.bias"])
            regressor = None
            if "regressor.weight" in tensors:
                regressor = BoxRegressor(tensors["regressor.weight"], tensors["regressor.bias"])
            calibration = None
            if "calibration.knots" in tensors:
                calibration = Calibration(tensors["calibration.knots"], tensors["calibration.slope"])
            heads = (head, regressor, tensors["thresholds"])
            return cls(config, header["classes"], backbone, *heads, layers, calibration)
        except (KeyError, RuntimeError) as error:
            raise WeightsError("is not a detector", file=file, got=error) from error


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image of `size` (H, W) that has been through what is done once. Boxes are in its original pixels."""

    detector: Detector
    image: ImageFeatures
    size: tuple[int, int]

    def features(self, boxes: Tensor) -> Tensor:
        """Region features float32 (N, D)."""
        check_boxes(boxes)
        return self.image.features(boxes)

    def score(self, boxes: Tensor) -> Tensor:
        """Scores float32 (N, K), background left out."""
        return self.detector.head.scores(self.features(boxes))

    def detect(self, boxes: Tensor) -> Detections:
        """Score the boxes, regress them, and keep the best of those that overlap."""
        check_boxes(boxes)

        def heads(features: Tensor) -> Tensor:
            with stage("heads"), torch.inference_mode():
                return self.detector.apply_heads(features)

        outputs = map_features(self.image, boxes, heads)
        return self.detector.detections(outputs, boxes, self.size)
