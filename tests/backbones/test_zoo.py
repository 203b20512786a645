"""The networks: their maps, and that they compute what torchvision's compute."""

import math

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from sppdet.backbones.efficientnet_lite import VARIANTS
from sppdet.backbones.zoo import BACKBONES, build_backbone
from sppdet.errors import ConfigError

LAST_LAYER = {
    **{"alexnet": "features.11", "vgg16": "features.29"},
    **dict.fromkeys(("squeezenet1_0", "squeezenet1_1"), "features.12"),
    **dict.fromkeys(("resnet18", "resnet50"), "layer3"),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_come_frozen_and_channels_last(name):
    backbone = build_backbone(name, "random")
    features = backbone(torch.rand(2, 3, 240, 320).to(memory_format=torch.channels_last))[0]
    assert (backbone.name, backbone.device) == (name, torch.device("cpu"))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in backbone.parameters() if p.ndim == 4)
    assert features.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(features).all()
    assert features.shape[:2] == (2, backbone.channels[0])
    assert features.min() == 0, "the map is taken after the last activation"
    if name not in VARIANTS:
        assert backbone.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
        assert backbone.std.tolist() == pytest.approx([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("zf5", 224, (256, 13, 13)),
        ("zf5", 180, (256, 10, 10)),
        ("alexnet", 224, (256, 13, 13)),
        ("caffenet", 227, (256, 13, 13)),
        ("squeezenet1_0", 224, (512, 13, 13)),
        ("squeezenet1_1", 224, (512, 13, 13)),
        ("vgg16", 224, (512, 14, 14)),
        ("vgg16", 104, (512, 6, 6)),
        ("vgg16_caffe", 104, (512, 7, 7)),
        ("resnet18", 224, (256, 14, 14)),
        ("resnet50", 224, (1024, 14, 14)),
        ("efficientnet_lite0", 224, (672, 14, 14)),
        ("efficientnet_lite2", 260, (720, 17, 17)),
        ("shapenet", 240, (96, 30, 30)),
    ],
)
def test_map_sizes(name, side, shape):
    (maps,) = build_backbone(name, "random")(torch.zeros(1, 3, side, side))
    assert maps.shape[1:] == shape


@pytest.mark.parametrize("name", LAST_LAYER)
def test_equal_to_torchvision_with_the_same_weights(name, tmp_path):
    with torch.device("meta"):
        network = get_model(name, weights=None).eval()
    if "features" in LAST_LAYER[name]:
        network.classifier = nn.Identity()  # VGG-16's would be half a gigabyte
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for key, tensor in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.zero_()
        elif tensor.ndim == 4:
            tensor.normal_(0, math.sqrt(2 / tensor[0].numel()), generator=generator)
        else:
            tensor.uniform_(0.1, 0.5, generator=generator)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    seen = []
    network.get_submodule(LAST_LAYER[name]).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    image = torch.rand(1, 3, 96, 128, generator=generator)
    with torch.no_grad():
        network(image)
    (maps,) = build_backbone(name, tmp_path / "weights.pth")(image)
    torch.testing.assert_close(maps, seen[0], rtol=1e-4, atol=1e-4)


def test_random_weights_are_always_the_same_follow_he_and_leave_the_generator_alone():
    before = torch.get_rng_state()
    first, second = (build_backbone("zf5", "random").state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    backbone = build_backbone("vgg16", "random")
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            assert float(layer.weight.std()) == pytest.approx(math.sqrt(2 / layer.weight[0].numel()), rel=0.1)
            assert not layer.bias.any()


def test_shapenet_is_small_and_moves():
    backbone = build_backbone("shapenet", "random")
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 150_000
    assert backbone.geometries[0].stride == 8
    assert backbone.to("meta").device.type == "meta"


def test_unknown_backbone():
    with pytest.raises(
        ConfigError, match=r"backbone\.name: unknown backbone \(expected alexnet, .*shapenet, .*timm/NAME, got vgg17"
    ):
        build_backbone("vgg17", "random")
