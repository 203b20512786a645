"""Fully connected layers against torchvision's own classifiers, and truncation against torch's SVD."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from factories import random_maps
from torch import Tensor, nn
from torchvision.models import get_model

from sppdet.backbones.fully_connected import FullyConnected, build_fully_connected, reorder_fc6, truncate
from sppdet.backbones.weights import PRETRAINED
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import save_tensors
from sppdet.pooling.pyramid import SpatialPyramidPooling


@pytest.fixture(scope="module")
def alexnet() -> nn.Module:
    torch.manual_seed(0)
    return get_model("alexnet", weights=None).eval()


@pytest.fixture(scope="module")
def weights(alexnet, tmp_path_factory) -> Path:
    """Its weights in a file, less those of its last layer."""
    file = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({name: tensor for name, tensor in alexnet.state_dict().items() if "classifier.6" not in name}, file)
    return file


def configure(name: str, weights: Path | str, depth: int, levels: Sequence[int], width: int = 4096) -> DetectorConfig:
    backbone, pyramid = BackboneConfig(name, str(weights)), PyramidConfig(tuple(levels))
    return DetectorConfig(backbone=backbone, pyramid=pyramid, fc=FCConfig(depth, width))


def build(config: DetectorConfig) -> FullyConnected | None:
    return build_fully_connected(config, build_backbone(config.backbone.name, "random"))


def random_layers(sizes: Sequence[int], seed: int = 0) -> FullyConnected:
    torch.manual_seed(seed)
    return FullyConnected([nn.Linear(a, b)] for a, b in pairwise(sizes))


@pytest.mark.parametrize(("depth", "levels"), [(2, (6, 3, 2, 1)), (2, (6,)), (1, (1, 6, 2))])
def test_alexnets_classifier_reads_the_level_that_is_its_pool5(alexnet, weights, depth, levels):
    layers = build(configure("alexnet", weights, depth, levels))
    maps = torch.rand(3, 256, 6, 6, generator=torch.Generator().manual_seed(0))
    pooled = SpatialPyramidPooling(levels)(maps)
    assert (layers.inputs, layers.dimension) == (pooled.shape[1], 4096)
    with torch.no_grad():
        expected = alexnet.classifier[: 3 * depth](maps.flatten(1))  # dropout, linear, ReLU; no dropout in evaluation
    assert expected.std() > 0.001
    torch.testing.assert_close(layers(pooled), expected, rtol=0, atol=1e-5)


def test_a_whole_image_gives_alexnets_fc7(alexnet, weights):
    layers = build(configure("alexnet", weights, 2, (6, 3, 2, 1)))
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = alexnet.classifier[:6](alexnet.avgpool(alexnet.features(image)).flatten(1))
        found = layers(SpatialPyramidPooling()(build_backbone("alexnet", str(weights))(image)[0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_an_alexnet_with_the_layer_in_place_of_pool5_is_the_same_network(alexnet):
    features, classifier = list(alexnet.features), list(alexnet.classifier)
    assert isinstance(features[-1], nn.MaxPool2d)
    with torch.no_grad():
        fc6 = nn.Linear(9216, 4096)
        fc6.weight.copy_(reorder_fc6(classifier[1].weight, (6,), (6,)))
        fc6.bias.copy_(classifier[1].bias)
        ours = nn.Sequential(*features[:-1], SpatialPyramidPooling((6,)), fc6, *classifier[2:]).eval()
        images = random_maps(2, 3, 224, 224)
        expected = alexnet(images)
        assert (ours(images) - expected).abs().max() < 1e-5 * expected.abs().max()
        fc6.weight.copy_(classifier[1].weight)  # the order of columns matters
        assert (ours(images) - expected).abs().max() > 1e-2 * expected.abs().max()
        assert ours(random_maps(1, 3, 260, 190)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "levels", "own"),
    [
        *(("zf5", levels, (1, 2, 3, 6)) for levels in ((6, 3, 2, 1), (1, 2, 3, 6), (4, 6, 1, 3, 2))),
        ("caffenet", (6, 6), (6,)),  # a level that stands twice counts once
    ],
)
def test_fc6_reads_the_levels_of_its_network(name, levels, own, tmp_path):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(9, 256 * sum(n**2 for n in own), generator=generator) / 100
    torch.save({"fc6.weight": weight, "fc6.bias": torch.zeros(9)}, tmp_path / "fc6.pth")
    maps = torch.rand(3, 256, 13, 13, generator=generator)
    pooled = torch.cat([nn.functional.adaptive_max_pool2d(maps, n).flatten(1) for n in own], dim=1)
    expected = (pooled @ weight.T).relu()
    assert expected.std() > 0.1
    layers = build(configure(name, tmp_path / "fc6.pth", 1, levels))
    torch.testing.assert_close(layers(SpatialPyramidPooling(levels)(maps)), expected, rtol=0, atol=1e-5)


def test_the_pretrained_layers_are_where_torchvision_has_them():
    with torch.device("meta"):
        for name, channels in (("alexnet", 256), ("vgg16", 512)):
            (side,), names = PRETRAINED[name]
            network = get_model(name, weights=None)
            fc6, fc7 = (network.get_submodule(layer) for layer in names)
            assert fc6.in_features == channels * side**2
            assert fc7.in_features == fc6.out_features == 4096


@pytest.mark.parametrize(
    ("name", "own"), [("alexnet", "6"), ("caffenet", "6"), ("zf5", "1, 2, 3, 6"), ("vgg16", "7"), ("vgg16_caffe", "7")]
)
def test_a_pyramid_without_the_levels_is_named(name, own, weights):
    config = configure(name, weights, 1, (4, 2, 1))
    with pytest.raises(ConfigError, match=rf"pyramid\.levels: .*expected {own} among them, got \[4, 2, 1\]"):
        build(config)


@pytest.mark.parametrize("damage", ["missing", "wrong shape"])
def test_weights_without_the_layers_are_named(damage, tmp_path):
    state = {"classifier.1.weight": torch.zeros(7, 256 * 36), "classifier.1.bias": torch.zeros(7)}
    if damage == "wrong shape":
        state |= {"classifier.4.weight": torch.zeros(7, 8), "classifier.4.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "part.pth")
    build(configure("alexnet", tmp_path / "part.pth", 1, (6,)))
    with pytest.raises(WeightsError, match=r"part\.pth: classifier\.4"):
        build(configure("alexnet", tmp_path / "part.pth", 2, (6,)))


@pytest.mark.parametrize("name", ["shapenet", "alexnet"])
def test_without_pretrained_layers_they_are_random_and_always_the_same(name):
    config = configure(name, "random", 2, (2, 1), width=40)
    layers = build(config)
    channels = 96 if name == "shapenet" else 256
    assert [linear.weight.shape for (linear,) in layers.linears] == [(40, 5 * channels), (40, 40)]
    assert layers.linears[0][0].weight.std() == pytest.approx((2 / (5 * channels)) ** 0.5, rel=0.05)
    assert not any(parameter.requires_grad for parameter in layers.parameters())
    torch.testing.assert_close(build(config).state_dict(), layers.state_dict(), rtol=0, atol=0)
    assert build(configure(name, "random", 0, (1,))) is None


def apply_by_hand(layers: FullyConnected, features: Tensor) -> Tensor:
    for linears in layers.linears:
        weight = linears[0].weight if len(linears) == 1 else linears[1].weight @ linears[0].weight
        features = (features @ weight.T + linears[-1].bias).clamp(min=0)
    return features


@pytest.mark.parametrize("ranks", [(5, 4), (5, 1000), (1000, 1000)])
def test_a_relu_follows_every_layer_and_none_is_within(ranks):
    layers = random_layers((60, 30, 20)).truncated(ranks)
    features = torch.randn(7, 60, generator=torch.Generator().manual_seed(1))
    found = layers(features)
    assert 0 < (found == 0).sum() < found.numel()
    torch.testing.assert_close(found, apply_by_hand(layers, features))


@pytest.mark.parametrize("shape", [(30, 60), (60, 30), (40, 40)])
@pytest.mark.parametrize("rank", [1, 7, 15])
def test_truncation_is_the_nearest_product_of_its_rank(shape, rank):
    torch.manual_seed(0)
    whole = nn.Linear(shape[1], shape[0])
    first, second = truncate([whole], rank)
    assert (first.weight.shape, second.weight.shape) == ((rank, shape[1]), (shape[0], rank))
    assert first.bias is None
    assert torch.equal(second.bias, whole.bias)
    U, S, V = torch.linalg.svd(whole.weight.detach().double(), full_matrices=False)
    nearest = (U[:, :rank] * S[:rank] @ V[:rank]).float()
    torch.testing.assert_close(second.weight @ first.weight, nearest, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rank", "parts"), [(19, 2), (20, 1), (21, 1), (10_000, 1)])
def test_a_rank_that_saves_nothing_leaves_the_layer(rank, parts):
    layers = random_layers((60, 30))  # 60 * 30 = 20 * (60 + 30)
    found = layers.truncated([rank])
    assert len(found.linears[0]) == parts
    assert (found.linears[0][0] is layers.linears[0][0]) == (parts == 1)


def test_a_truncated_layer_can_be_truncated_further():
    layers = random_layers((60, 30))
    twice, once = layers.truncated([12]).truncated([5]), layers.truncated([5])
    features = torch.randn(7, 60, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(twice(features), once(features), rtol=0, atol=1e-5)
    assert len(layers.truncated([5]).truncated([12]).linears[0][0].weight) == 5


@pytest.mark.parametrize("ranks", [(), (3,), (3, 3, 3), (3, 0), (-1, 3)])
def test_a_rank_for_every_layer(ranks):
    with pytest.raises(ConfigError, match=r"svd: wrong ranks .*expected 2 numbers of at least 1, one per layer"):
        random_layers((60, 30, 20)).truncated(ranks)


def test_state_comes_back_whole_and_truncated():
    for layers in (random_layers((60, 30, 20)), random_layers((60, 30, 20)).truncated((5, 1000))):
        again = FullyConnected.from_tensors(layers.state_dict(), 2)
        torch.testing.assert_close(again.state_dict(), layers.state_dict(), rtol=0, atol=0)
        assert again.state_dict().keys() == layers.state_dict().keys()
    with pytest.raises(KeyError):
        FullyConnected.from_tensors(layers.state_dict(), 3)


def test_a_classifier_of_another_version_is_refused_by_name(tmp_path):
    file = tmp_path / "old.safetensors"
    save_tensors(file, {"weight": torch.zeros(1)}, {"kind": "classifier", "config": {"layers": {"depth": 1}}})
    config = DetectorConfig(backbone=BackboneConfig("shapenet", str(file)), fc=FCConfig(1, 4))
    with pytest.raises(WeightsError, match=r"old\.safetensors: is a classifier of another version"):
        build_fully_connected(config, build_backbone("shapenet", "random"))
