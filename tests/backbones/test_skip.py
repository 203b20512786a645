"""The tap skip: the map of stride 16 and the last map of a network."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from contracts import assert_comes_back, raised
from factories import TINY, random_detector
from impulses import let_everything_through, measure
from torch import Tensor, nn

from sppdet.backbones.efficientnet_lite import WithLastMap
from sppdet.backbones.geometry import geometries_of
from sppdet.backbones.libraries import whole_network
from sppdet.backbones.zoo import build_backbone
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.errors import ConfigError, InputError

# The layers of each network of a library that compute both maps.
MAPS = {
    "mobilenet_v3_small": ("features.9.block.0", "features.12"),
    "efficientnet_b0": ("features.6.0.block.0", "features.8"),
    "convnext_tiny": ("features.6.0", "features.7"),
    "regnet_y_400mf": ("trunk_output.block3", "trunk_output.block4"),
    "resnet18": ("layer3", "layer4"),
    "timm/convnext_atto": ("stages.3.downsample.0", "stages.3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAPS)
def test_both_maps_are_those_of_the_whole_network(name, tmp_path):
    network, seen = whole_network(name), list[Tensor]()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    for layer in MAPS[name]:
        network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    image = torch.rand(1, 3, 96, 130)
    with torch.no_grad():
        network(image)
    backbone = build_backbone(name, tmp_path / "weights.pth", tap="skip")
    maps = backbone(image)
    assert [each.shape[1] for each in maps] == list(backbone.channels)
    for found, expected in zip(maps, seen, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    (alone,) = build_backbone(name, tmp_path / "weights.pth")(image)
    assert torch.equal(maps[0], alone)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "efficientnet_lite0", "efficientnet_lite2"])
def test_the_geometry_of_each_map_is_what_an_impulse_moves(name):
    backbone = build_backbone(name, "random", tap="skip")
    first, last = backbone.geometries
    assert (first,) == build_backbone(name, "random").geometries
    assert (first.stride, last.stride) == (16, 32)
    image = torch.ones(1, 3, 32, last.receptive_field + 5 * last.stride)
    let_everything_through(backbone)
    assert [measure(backbone, image, axis=3, number=number) for number in (0, 1)] == [first, last]


def test_every_output_has_to_be_a_map():
    first, second = geometries_of(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), WithLastMap(nn.MaxPool2d(2))))
    assert (first.stride, second.stride, first.center, second.center) == (2, 4, 1, 2)
    with pytest.raises(InputError, match=r"does not compute a map|unknown geometry"):
        geometries_of(nn.Sequential(nn.Conv2d(3, 4, 3), WithLastMap(nn.AdaptiveAvgPool2d(1))))


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_lite0"])
@pytest.mark.parametrize("features", ["spp", "crop", "roi_align"])
def test_a_detector_comes_back(name, features, tmp_path):
    pyramid = PyramidConfig((2, 1), last_levels=(3,))
    config = replace(TINY, features=features, backbone=BackboneConfig(name, "random", "skip"), pyramid=pyramid)
    assert_comes_back(random_detector(config), tmp_path)


@pytest.mark.parametrize(
    ("name", "tap", "said"),
    [
        ("zf5", "skip", "not a map of zf5 (expected expansion, got skip)"),
        ("resnet18", "projection", "not a map of resnet18 (expected expansion or skip, got projection)"),
        ("squeezenet1_1", "skip", "no map of a stride over 16 (expected expansion, got skip)"),
    ],
)
def test_a_map_that_a_network_does_not_have(name, tap, said):
    error = raised(ConfigError, partial(build_backbone, tap=tap), name, "random")
    assert f"backbone.tap: {said}" in str(error)
