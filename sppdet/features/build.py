"""The region features that a configuration names."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.detector import DetectorConfig, FeatureKind
from sppdet.config.network import Precision
from sppdet.errors import ConfigError, InputError
from sppdet.features.crop import CropExtractor
from sppdet.features.spp import RoIAlignExtractor, SPPExtractor
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign


def build_features(
    config: DetectorConfig, backbone: Backbone, precision: Precision = "fp32", layers: FullyConnected | None = None
) -> SPPExtractor | CropExtractor:
    """The feature source that `config.features` names, on the device of the backbone, ending in the `layers` that
    `build_fully_connected` gives. Raises InputError for layers that are not those of the configuration."""
    if config.roi.size < 1 or config.roi.samples < 1:
        raise ConfigError("out of range", field="roi", expected="size and samples of at least 1", got=config.roi)
    pyramid = SpatialPyramidPooling(config.levels, config.pyramid.mode)
    pooled = pyramid.out_features(backbone.channels)
    shape = (config.fc.depth, pooled if config.fc.depth else 0)
    given = (0, 0) if layers is None else (len(layers), layers.inputs)
    if shape != given:
        raise InputError("not those of the configuration", field="layers", expected=f"depth, inputs {shape}", got=given)
    if config.features == "spp":
        return SPPExtractor(backbone, pyramid, config.spp, precision, layers)
    if config.features == "crop":
        return CropExtractor(backbone, pyramid, config.crop, precision, layers)
    if config.features == "roi_pool":
        return SPPExtractor(backbone, pyramid, replace(config.spp, window_rule="round"), precision, layers)
    if config.features == "roi_align":
        return RoIAlignExtractor(
            backbone, RoIAlign(config.roi.size, samples=config.roi.samples), config.spp, precision, layers
        )
    raise ConfigError(
        "unknown features", field="features", expected=", ".join(get_args(FeatureKind)), got=config.features
    )
