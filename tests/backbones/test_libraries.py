"""Networks of torchvision and timm by name: where they are cut, what they compute, their weights and errors."""

import sys
from dataclasses import replace

import pytest
import torch
from contracts import assert_comes_back, raised
from factories import TINY, random_detector
from impulses import let_everything_through, measure
from torch import Tensor, nn
from torchvision.models import get_model

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.backbones.libraries import cut, whole_network
from sppdet.backbones.zoo import build_backbone
from sppdet.config.network import BackboneConfig
from sppdet.errors import ConfigError, InputError, WeightsError

# The last layer of each network, and its blocks.
TORCHVISION = {
    "mobilenet_v2": ("features.14.conv.0", 15),
    "mobilenet_v3_small": ("features.9.block.0", 10),
    "mobilenet_v3_large": ("features.13.block.0", 14),
    "mnasnet0_5": ("layers.12.0.layers.2", 8),
    "efficientnet_b0": ("features.6.0.block.0", 7),
    "convnext_tiny": ("features.6.0", 6),
    "regnet_y_400mf": ("trunk_output.block3", 4),
    "resnet34": ("layer3", 14),
    "densenet121": ("features.transition3.conv", 7),
}
TIMM = {
    "timm/mobilenetv3_small_100.lamb_in1k": ("blocks.4.0.bn1", 6),
    "timm/efficientnet_lite0": ("blocks.5.0.bn1", 7),
    "timm/convnext_atto": ("stages.3.downsample.0", 4),
    "timm/regnety_004": ("s3", 11),
    "timm/resnet50d": ("layer3", 16),
    "timm/hgnetv2_b0": ("stages.2", 8),
    "timm/ghostnet_050": ("blocks.6.4", 8),
}
LAST = {**TORCHVISION, **TIMM}
CHANNELS = {"mobilenet_v3_large": 672, "efficientnet_b0": 672, "convnext_tiny": 384, "regnet_y_400mf": 208}


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", *TIMM])
def test_geometry_is_what_an_impulse_moves(name):
    backbone = build_backbone(name, "random")
    assert backbone.geometries[0].stride == 16
    length = backbone.geometries[0].receptive_field + 5 * backbone.geometries[0].stride
    let_everything_through(backbone.double())
    assert measure(backbone, torch.ones(1, 3, 32, length, dtype=torch.float64), axis=3) == backbone.geometries[0]


def perturb(network: nn.Module) -> None:
    """Change every number of a network a little."""
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(torch.rand(tensor.shape, generator=generator) + 0.5).add_(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAST)
def test_equal_to_the_whole_network_with_the_same_weights(name, tmp_path):
    network = whole_network(name)
    perturb(network)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    seen: list[Tensor] = []
    layer, blocks = LAST[name]
    network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    image = torch.rand(1, 3, 96, 130)
    with torch.no_grad():
        network(image)
    backbone = build_backbone(name, tmp_path / "weights.pth")
    maps = backbone(image)[0]
    assert maps.shape[1] == backbone.channels[0] == CHANNELS.get(name, backbone.channels[0])
    torch.testing.assert_close(maps, seen[0], rtol=1e-4, atol=1e-4 * float(maps.abs().max()))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    with pytest.raises(ConfigError, match=f"0 to {blocks},"):
        last_conv_blocks(backbone, blocks + 1)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mnasnet0_5", "timm/mobilenetv3_small_100"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_saved_backbone_comes_back(name, prefix, tmp_path):
    backbone = build_backbone(name, "random")
    perturb(backbone)
    torch.save({f"{prefix}{key}": tensor for key, tensor in backbone.state_dict().items()}, tmp_path / "own.pth")
    again = build_backbone(name, tmp_path / "own.pth")
    torch.testing.assert_close(again.state_dict(), backbone.state_dict(), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny"])
def test_the_last_blocks_can_be_trained(name):
    backbone = build_backbone(name, "random")
    last = last_conv_blocks(backbone, 2).requires_grad_(True)
    backbone(torch.rand(1, 3, 64, 64))[0].square().sum().backward()
    moved = [weight for weight in backbone.parameters() if weight.grad is not None]
    assert {id(weight) for weight in moved} == {id(weight) for weight in last.parameters()}
    assert all(weight.grad.abs().sum() > 0 for weight in moved)


def test_random_weights_are_always_the_same_and_leave_the_generator_alone():
    before = torch.get_rng_state()
    pytest.importorskip("timm")
    first, second = (build_backbone("timm/convnext_atto", "random").state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_detector_with_a_network_of_a_library_comes_back(tmp_path):
    config = replace(TINY, backbone=BackboneConfig("mobilenet_v3_small", "random"))
    assert_comes_back(random_detector(config), tmp_path)


@pytest.mark.parametrize(
    ("name", "other", "field"),
    [
        ("mobilenet_v3_small", "mobilenet_v3_large", "features.1.block.1.fc1.weight"),
        ("efficientnet_b0", "efficientnet_b1", "features.1.1.block.0.0.weight"),  # a deeper one
    ],
)
def test_weights_of_another_network(name, other, field, tmp_path):
    torch.save(get_model(other, weights=None).state_dict(), tmp_path / "other.pth")
    error = raised(WeightsError, build_backbone, name, tmp_path / "other.pth")
    assert (error.file, error.field) == (tmp_path / "other.pth", field)
    assert f"the weights of {name}" in str(error)


def test_weights_of_timms_hub_come_with_their_normalization(monkeypatch):
    timm = pytest.importorskip("timm")
    name, new = "mobilenetv3_small_075", timm.create_model("mobilenetv3_small_100")
    hub = timm.create_model("mobilenetv3_small_100")
    perturb(hub)
    new.pretrained_cfg["mean"] = (0.1, 0.2, 0.3)
    monkeypatch.setattr(timm, "create_model", lambda _name, pretrained=False: hub if pretrained else new)
    backbone = build_backbone(f"timm/{name}", "DEFAULT")
    assert torch.equal(backbone.layers.conv_stem.weight, hub.conv_stem.weight)
    assert backbone.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    monkeypatch.setattr(timm, "create_model", lambda _name, pretrained=False: 1 / 0 if pretrained else new)
    error = raised(WeightsError, build_backbone, f"timm/{name}", "DEFAULT")
    assert f"timm/{name}: cannot be downloaded: division by zero" in str(error)
    error = raised(WeightsError, build_backbone, f"timm/{name}", "none.pth")
    assert "a weight file, 'random' or 'DEFAULT'" in str(error)


def test_without_timm_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    error = raised(ConfigError, build_backbone, "timm/resnet18", "random")
    assert "backbone.name: timm is not installed (expected `pip install timm`, got timm/resnet18)" in str(error)


def test_a_name_unknown_to_timm_gets_the_nearest():
    pytest.importorskip("timm")
    error = raised(ConfigError, build_backbone, "timm/convnext_atoo", "random")
    assert "convnext_atto" in str(error)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shufflenet_v2_x0_5", r"InvertedResidual stage2\.0: function of unknown geometry .*view"),
        ("swin_t", r"ShiftedWindowAttention features\.1\.0\.attn: layer cannot be traced"),
        ("timm/vit_tiny_patch16_224", r"PatchEmbed patch_embed: function of unknown geometry .*flatten"),
        ("timm/tf_efficientnet_lite0", r"Conv2dSame conv_stem: layer cannot be traced"),
    ],
)
def test_a_network_whose_geometry_is_unknown_names_its_layer(name, said):
    with pytest.raises(InputError, match=said):
        build_backbone(name, "random")


class Shrinking(nn.Module):
    """Two branches that are of one size only if the image's is even."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 17, stride=16, padding=8)
        self.shortcut = nn.MaxPool2d(16)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) + self.shortcut(images)


def test_no_map_of_stride_16_and_images_of_some_sizes_only(monkeypatch):
    error = raised(ConfigError, cut, nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.Conv2d(4, 4, 3, stride=4)), "mine")
    assert "backbone.name: no map of stride 16 that all later ones come from (got mine)" in str(error)
    monkeypatch.setattr("sppdet.backbones.zoo.whole_network", lambda _name: Shrinking().eval())
    error = raised(ConfigError, build_backbone, "resnet34", "random")
    assert "cannot take images of any size (got resnet34)" in str(error)
