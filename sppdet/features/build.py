"""The feature extractor that a configuration names."""

from dataclasses import replace

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import FullyConnected, build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import Precision
from sppdet.errors import InputError
from sppdet.features.crop import CropExtractor
from sppdet.features.extractor import FeatureExtractor
from sppdet.features.spp import RoIAlignExtractor, SPPExtractor
from sppdet.pooling.joined import JoinedPooling, join_pyramids
from sppdet.pooling.roi import RoIAlign


def build_network(config: DetectorConfig, device: str = "auto", precision: Precision = "fp32") -> FeatureExtractor:
    """Build the network up to the heads, with the weights that `config` names."""
    backbone = build_backbone(config.backbone.name, config.backbone.weights, device, precision, config.backbone.tap)
    return build_extractor(config, backbone, build_fully_connected(config, backbone))


def build_extractor(
    config: DetectorConfig, backbone: Backbone, layers: FullyConnected | None = None
) -> FeatureExtractor:
    """Build the extractor that `config.features` names around a backbone and the layers of `build_fully_connected`.

    Raises InputError for layers that do not match the configuration.
    """
    pyramids = join_pyramids(config.levels, config.pyramid.mode, backbone.channels, config.pyramid.unit_length)
    shape = (config.fc.depth, pyramids.dimension if config.fc.depth else 0)
    given = (0, 0) if layers is None else (len(layers), layers.inputs)
    if shape != given:
        raise InputError("do not match the configuration", field="layers", expected=f"depth, inputs {shape}", got=given)
    match config.features:
        case "spp":
            return SPPExtractor(backbone, pyramids, config.spp, layers)
        case "crop":
            return CropExtractor(backbone, pyramids, config.crop, layers)
        case "roi_pool":
            return SPPExtractor(backbone, pyramids, replace(config.spp, window_rule="round"), layers)
        case "roi_align":
            align = [RoIAlign(config.roi.size, samples=config.roi.samples) for _ in backbone.channels]
            joined = JoinedPooling(align, backbone.channels, config.pyramid.unit_length)
            return RoIAlignExtractor(backbone, joined, config.spp, layers)
