"""Convolutions, fully connected layers, region features and precisions."""

from dataclasses import replace

import pytest
import torch
from contracts import assert_close_rows
from factories import TINY, random_detector, random_image
from torch import Tensor

from sppdet.backbones.zoo import BACKBONES, build_backbone
from sppdet.comparison.timing import random_boxes
from sppdet.config.detector import SPPConfig
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.features.build import build_network
from sppdet.features.extractor import apply_to_features

# Relative to the largest value: float32 sums in another order; maps in half precision; convolutions in it; in TF32.
ROUNDING = {"fp32": 1e-4, "maps": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "tf32": 1e-2}
SIZE = (120, 160)
SKIP = BackboneConfig("resnet18", "random", "skip")


def input_of(name: str, device: str, precision: str = "fp32") -> tuple[torch.nn.Module, Tensor]:
    backbone = build_backbone(name, "random", device, precision)
    return backbone, backbone.normalize(torch.stack([random_image(224, 288, seed) for seed in range(2)]))


@pytest.mark.parametrize("name", BACKBONES)
def test_maps_of_every_network(device, name):
    maps = []
    for place in ("cpu", device):
        backbone, pixels = input_of(name, place)
        assert pixels.device.type == backbone.device.type == place
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            maps.append(backbone(pixels)[0].cpu())
    assert_close_rows(maps[1], maps[0], ROUNDING["fp32"])


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
@pytest.mark.parametrize("name", ["squeezenet1_0", "resnet18"])
def test_precisions(device, name, precision):
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # torch's default
    maps = []
    for place, number in (("cpu", "fp32"), (device, "fp32" if precision == "tf32" else precision)):
        backbone, pixels = input_of(name, place, number)
        with torch.inference_mode():
            maps.append(backbone(pixels)[0].float().cpu())
    assert_close_rows(maps[1], maps[0], ROUNDING[precision])


@pytest.mark.parametrize("features", ["spp", "crop", "roi_pool", "roi_align"])
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("network", [TINY.backbone, SKIP], ids=["shapenet", "skip"])
def test_region_features(device, features, depth, network):
    config = replace(TINY, features=features, backbone=network, fc=FCConfig(depth, 24), spp=SPPConfig((64, 90)))
    image, boxes = random_image(*SIZE), random_boxes(SIZE, 50)
    found = []
    for place in ("cpu", device):
        extractor = build_network(config, place)
        encoded = extractor.encode(image)
        rows = encoded.features(boxes)
        assert rows.device.type == place
        stored = {name: tensor.cpu() for name, tensor in extractor.store(image, boxes).items()}
        few = apply_to_features(encoded, boxes, lambda rows: rows[:, :3])
        pooled = extractor.pool(image, boxes, 0.0).detach()
        found.append([rows, extractor.restore(stored, SIZE, boxes).features(boxes), few, pooled])
    for there, here in zip(found[1], found[0], strict=True):
        assert_close_rows(there.cpu(), here, ROUNDING["maps"])


def test_truncated_layers(device):
    image, boxes = random_image(*SIZE), random_boxes(SIZE, 30)
    config = replace(TINY, fc=FCConfig(2, 24))
    detectors = [random_detector(config, device=place).truncated([8, 6]) for place in ("cpu", device)]
    here, there = (each.encode(image).score(boxes).cpu() for each in detectors)
    assert_close_rows(there, here, ROUNDING["maps"])
