"""The detector (image -> proposals -> region features -> heads -> detections), its saving and loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

import torch
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import DetectorConfig, FeatureKind
from sppdet.config.network import Precision
from sppdet.config.record import as_dict, base_of, from_dict
from sppdet.encoded import EncodedImage
from sppdet.errors import ConfigError, InputError, WeightsError
from sppdet.features.build import build_extractor, build_network
from sppdet.features.extractor import FeatureExtractor
from sppdet.files.atomic import save_tensors, with_prefix
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import Calibration
from sppdet.heads.linear import Heads
from sppdet.images import ImageLike, as_image
from sppdet.postprocess import minimum_score
from sppdet.proposals.cache import propose_image
from sppdet.runtime.memory import keep_freed_memory
from sppdet.runtime.stopwatch import stage
from sppdet.structures import Detections
from sppdet.wording import counted


class Detector(nn.Module):
    """A region-based detector. The weights are frozen. Detections are sorted by score, highest first.

    extractor: image to region features. heads: features to scores and box offsets. thresholds: float32 (K,), the
    scores from which detections of a class are worth drawing; they do not limit what is detected. calibration: scores
    to probabilities, if the detector was trained.
    """

    thresholds: Tensor
    calibration: Calibration | None

    def __init__(
        self,
        config: DetectorConfig,
        classes: Sequence[str],
        extractor: FeatureExtractor | None = None,
        heads: Heads | None = None,
    ) -> None:
        """classes: names of labels 1..K. By default the network has the weights that `config` names, and the heads are
        zero, to be trained. Raises ConfigError or InputError for heads of other features or another number of classes.
        """
        super().__init__()
        keep_freed_memory()
        self.config, self.classes = config, tuple(classes)
        self.extractor = extractor or build_network(config)
        self.heads = heads or Heads(config.head, len(self.classes), self.extractor.dimension)
        self.register_buffer("thresholds", torch.zeros(len(self.classes)))
        self.calibration = None
        lengths = self.extractor.dimension, self.heads.dimension
        if lengths[0] != lengths[1]:
            reason = "the heads were fitted to features of another length"
            raise ConfigError(reason, field="features", expected=lengths[1], got=lengths[0])
        if len(self.classes) != self.heads.num_classes:
            expected = f"{self.heads.num_classes}, as the heads have"
            raise InputError("wrong number", field="classes", expected=expected, got=len(self.classes))
        self.to(self.backbone.device).eval()

    def train(self, mode: bool = True) -> Detector:
        """Stay in evaluation mode: the weights are frozen, and so are the statistics of batch normalization."""
        del mode
        return super().train(False)

    @property
    def backbone(self) -> Backbone:
        return self.extractor.backbone

    @property
    def layers(self) -> FullyConnected | None:
        """The fully connected layers between pooling and heads, if any."""
        return self.extractor.layers

    def forward(
        self, images: Sequence[Tensor] | Tensor, proposals: Sequence[Tensor] | None = None
    ) -> list[dict[str, Tensor]]:
        """Detect objects in a list of images, as torchvision's detectors do: dict(boxes, labels, scores) for each.

        images: (3, H, W) each, uint8 or float in [0, 1]. proposals: float32 (N, 4) for each image; by default those of
        selective search.
        """
        if not isinstance(images, (list, tuple)) and getattr(images, "ndim", 3) != 4:
            got = f"one of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            reason = "a detector is called with a list of images; for one image use detector.detect(image)"
            raise InputError(reason, field="images", expected="list of (3, H, W)", got=got)
        if proposals is not None and len(proposals) != len(images):
            raise InputError("not one set per image", field="proposals", expected=len(images), got=len(proposals))
        boxes = [None] * len(images) if proposals is None else proposals
        return [self.detect(image, its).as_dict() for image, its in zip(images, boxes, strict=True)]

    def detect(self, image: ImageLike, proposals: Tensor | None = None) -> Detections:
        """Detect objects in one image: a path, tensor, array or PIL image.

        proposals: float32 (N, 4), in pixels of the image; by default those of selective search.
        """
        pixels = as_image(image)
        if proposals is None:
            with stage("proposals"):
                proposals = propose_image(pixels, self.config.proposals)
        return self.encode(pixels).detect(proposals)

    def encode(self, image: ImageLike) -> EncodedImage:
        """Compute everything that does not depend on the boxes. The result has `.features`, `.score` and `.detect`."""
        pixels = as_image(image)
        features, size = self.extractor.encode(pixels), (pixels.shape[1], pixels.shape[2])
        mirrored = self.extractor.encode(pixels.flip(2)) if self.config.mirror else None
        return EncodedImage(features, size, self.heads, self.config.selection, self.classes, mirrored)

    def probabilities(self, detections: Detections) -> Detections:
        """Replace the scores of detections with the probabilities that they are correct.

        Raises WeightsError if the detector has no calibration, because it was not trained by `sppdet train`.
        """
        if self.calibration is None:
            expected = "a detector trained by `sppdet train`"
            raise WeightsError("the detector is not calibrated", field="calibration", expected=expected)
        return self.calibration.calibrate(detections)

    def with_config(self, config: DetectorConfig) -> Detector:
        """Return a detector that shares these weights, with another configuration of features or selection."""
        return self._copy(config, build_extractor(config, self.backbone, self.layers))

    def with_features(self, features: FeatureKind) -> Detector:
        """Return a detector that shares these weights, with another kind of features, of the same length."""
        first, last, *_ = *self.config.levels, self.config.pyramid.last_levels
        pyramid = replace(self.config.pyramid, levels=first, last_levels=last)
        return self.with_config(replace(self.config, features=features, pyramid=pyramid))

    def truncated(self, ranks: Sequence[int]) -> Detector:
        """Return a detector whose fully connected layers are approximated by layers of these ranks: faster, with a
        little less mAP (Fast R-CNN, section 3.1). Raises ConfigError unless there is one rank per layer."""
        if self.layers is None:
            reason = "the detector has no fully connected layers to truncate (fc.depth is 0)"
            raise ConfigError(reason, field="svd", got=list(ranks))
        return self._copy(self.config, build_extractor(self.config, self.backbone, self.layers.truncated(ranks)))

    def without_box_regression(self) -> Detector:
        """Return a detector whose detections keep the boxes of their proposals."""
        return self._copy(self.config, self.extractor, self.heads.without_box_regression())

    def _copy(self, config: DetectorConfig, extractor: FeatureExtractor, heads: Heads | None = None) -> Detector:
        copy = Detector(config, self.classes, extractor, heads or self.heads)
        copy.thresholds, copy.calibration = self.thresholds, self.calibration
        return copy

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, classes and configuration into one safetensors file."""
        config = as_dict(base_of(self.config, DetectorConfig))
        header = {"config": config, "classes": self.classes, "box_regression": self.heads.box_regression}
        save_tensors(path, self.state_dict(), {"kind": "detector", **header}, "detector")

    @classmethod
    def load(cls, path: str | PathLike[str], device: str = "auto", precision: Precision = "fp32") -> Detector:
        """Read a detector from its file or the run folder that holds it.

        Raises WeightsError if the file is missing, damaged or not a detector, and ConfigError for an unknown
        configuration or an unavailable device.
        """
        with RunFolder(path).open("detector") as (file, tensors, header):
            config, classes = from_dict(DetectorConfig, header["config"], file), header["classes"]
            backbone = build_backbone(config.backbone.name, "random", device, precision, config.backbone.tap)
            depth = config.fc.depth
            layers = FullyConnected.from_tensors(with_prefix("extractor.layers.", tensors), depth) if depth else None
            extractor = build_extractor(config, backbone, layers)
            heads = Heads(config.head, len(classes), extractor.dimension, header["box_regression"])
            detector = cls(config, classes, extractor, heads)
            calibration = with_prefix("calibration.", tensors)
            if calibration:
                detector.calibration = Calibration(**{name: tensor.clone() for name, tensor in calibration.items()})
            detector.load_state_dict(tensors)
            return detector.to(backbone.device)

    def __repr__(self) -> str:
        config, heads = self.config, self.heads
        parts = {
            "features": f"{config.features} {self.extractor.dimension}",
            "fc": config.fc.depth,
            "head": heads.kind,
            "box_regression": heads.box_regression,
            "calibrated": self.calibration is not None,
            "min_score": minimum_score(config.selection, heads.kind),
            "precision": self.backbone.precision,
            "device": self.backbone.device,
        }
        settings = ", ".join(f"{name}={value}" for name, value in parts.items())
        return f"Detector({config.backbone.name}, {counted(len(self.classes), 'class')}, {settings})"
