"""Converted networks against what Caffe computes, worked out in numpy; and networks that must not be converted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_files import NETWORKS, change, connected, encode_blob, encode_network, forward, pool_pyramid
from factories import random_image

from sppdet.backbones.caffe import ORIGINALS, convert_caffe
from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.errors import WeightsError
from sppdet.images import normalize
from sppdet.pooling.pyramid import SpatialPyramidPooling

pytestmark = pytest.mark.slow

MEAN = (101.5, 117.25, 124.0)


@pytest.fixture(scope="module")
def converted(files, tmp_path_factory) -> dict[str, Path]:
    """Each network as a weight file of sppdet's, with MEAN."""
    folder = tmp_path_factory.mktemp("converted")
    for name, file in files.items():
        convert_caffe([file], name, folder / f"{name}.safetensors", MEAN)
    return {name: folder / f"{name}.safetensors" for name in files}


def image_of(name: str) -> torch.Tensor:
    return random_image(*NETWORKS[name].size)


def as_caffe(image: torch.Tensor, mean: Sequence[float] = MEAN) -> np.ndarray:
    """The pixels that Caffe's network gets of an RGB image: B G R, less the mean."""
    return image.numpy()[::-1].astype(np.float64) - np.array(mean)[:, None, None]


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        *((name, "fp32", 1e-5) for name in NETWORKS),
        # half precision holds maps of pixels up to 255
        *((name, *half) for name in ("caffenet", "zf5") for half in (("fp16", 0.003), ("bf16", 0.03))),
    ],
)
def test_conv5_is_caffes(name, precision, tolerance, networks, converted):
    backbone, image = build_backbone(name, converted[name], precision=precision), image_of(name)
    expected = forward(networks[name], as_caffe(image), networks[name][0].name, NETWORKS[name].last)
    with torch.inference_mode():
        found = backbone(normalize(image[None], backbone.mean, backbone.std))[0][0].double().numpy()
    assert found.shape == expected.shape
    assert 0.1 < (expected > 0).mean() < 0.9
    assert np.abs(found - expected).max() < tolerance * expected.max()


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("caffenet", "norm1", {"alpha": 0.0}),
        ("caffenet", "norm2", {"local_size": 3}),
        ("caffenet", "norm1", {"alpha": 5e-4}),  # not divided by the size
        ("zf5", "norm2", {"norm_region": 0}),
        ("zf5", "norm1", {"alpha": 0.0}),
    ],
)
def test_the_comparison_would_show_another_normalization(name, layer, options, networks):
    layers, pixels = networks[name], as_caffe(image_of(name))
    expected, other = (
        forward(network, pixels, "conv1", "relu_conv5") for network in (layers, change(layers, layer, **options))
    )
    assert np.abs(other - expected).max() > 1e-3 * expected.max()


def test_the_comparison_would_show_other_channels_and_another_mean(networks):
    layers, image = networks["caffenet"], image_of("caffenet")
    expected = forward(layers, as_caffe(image), "conv1", "relu_conv5")
    for pixels in (as_caffe(image.flip(0)), as_caffe(image, MEAN[::-1]), as_caffe(image)[::-1]):
        assert np.abs(forward(layers, pixels, "conv1", "relu_conv5") - expected).max() > 1e-3 * expected.max()


def test_vgg16_as_torchvision_has_it_differs_only_where_maps_are_odd(files, tmp_path):
    convert_caffe([files["vgg16_caffe"]], "vgg16", tmp_path / "vgg16.safetensors", MEAN)
    convert_caffe([files["vgg16_caffe"]], "vgg16_caffe", tmp_path / "vgg16_caffe.safetensors", MEAN)
    backbones = [build_backbone(name, tmp_path / f"{name}.safetensors") for name in ("vgg16", "vgg16_caffe")]
    with torch.no_grad():
        even, odd = ([backbone(torch.ones(1, 3, side, side))[0] for backbone in backbones] for side in (48, 56))
    assert torch.equal(*even)
    assert [tuple(maps.shape[2:]) for maps in odd] == [(3, 3), (4, 4)]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    ("name", "levels", "cells"),
    [
        ("caffenet", (6, 3, 2, 1), 13),
        ("zf5", (6, 3, 2, 1), 13),
        ("zf5", (1, 2, 3, 4, 6), 10),
        ("vgg16_caffe", (7, 2), 14),
        ("vgg16", (7, 2), 14),
    ],
)
def test_fc6_and_fc7_are_caffes(name, levels, cells, depth, networks, files, tmp_path):
    original = "vgg16_caffe" if name == "vgg16" else name
    file = tmp_path / "weights.safetensors"
    convert_caffe([files[original]], name, file, MEAN)
    config = DetectorConfig(backbone=BackboneConfig(name, str(file)), pyramid=PyramidConfig(levels), fc=FCConfig(depth))
    backbone = build_backbone(name, "random")
    maps = torch.rand(1, backbone.channels[0], cells, cells, generator=torch.Generator().manual_seed(0)) * 100
    below, first = maps[0].double().numpy(), "pool5"
    if name == "zf5":
        below, first = pool_pyramid(below, (1, 2, 3, 6)), "fc6"
    expected = forward(networks[original], below, first, f"relu_fc{5 + depth}")
    found = build_fully_connected(config, backbone)(SpatialPyramidPooling(levels)(maps))[0].double().numpy()
    assert (expected > 0).any()
    assert expected.shape == found.shape
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


def test_fine_tuned_layers_stand_in_for_those_of_the_first_file(networks, files, tmp_path):
    tuned = connected(256 * 50, (6, 4))
    (tmp_path / "tuned").write_bytes(encode_network(tuned, "V1"))
    output = tmp_path / "out.safetensors"
    names = convert_caffe([files["zf5"], tmp_path / "tuned"], "zf5", output)
    assert names == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    config = DetectorConfig(backbone=BackboneConfig("zf5", str(output)), fc=FCConfig(2))
    layers = build_fully_connected(config, build_backbone("zf5", output))
    assert [len(linear.bias) for (linear,) in layers.linears] == [6, 4]
    np.testing.assert_array_equal(layers.linears[1][0].weight.numpy(), tuned[2].blobs[0])
    backbone = build_backbone("zf5", output)
    np.testing.assert_array_equal(backbone.layers[4].weight.numpy(), networks["zf5"][4].blobs[0])


def test_convolutions_alone_are_enough_for_depth_0(networks, tmp_path):
    (tmp_path / "conv").write_bytes(encode_network(networks["caffenet"][:-5]))
    output = tmp_path / "out.safetensors"
    assert convert_caffe([tmp_path / "conv"], "caffenet", output) == list(ORIGINALS["caffenet"].convolutions)
    build_backbone("caffenet", output)
    config = DetectorConfig(backbone=BackboneConfig("caffenet", str(output)), fc=FCConfig(1))
    with pytest.raises(WeightsError, match="fc6: layer missing"):
        build_fully_connected(config, build_backbone("caffenet", output))


MEAN_IMAGE = np.random.default_rng(0).uniform(0, 255, (1, 3, 8, 6)) * np.array([0.2, 0.5, 1])[:, None, None]


@pytest.mark.parametrize(
    ("name", "mean", "expected"),
    [
        ("zf5", None, (128, 128, 128)),
        ("caffenet", None, (104.007, 116.669, 122.679)),
        ("vgg16_caffe", None, (103.939, 116.779, 123.68)),
        *(("zf5", encode_blob(MEAN_IMAGE, old), MEAN_IMAGE.mean(axis=(0, 2, 3))) for old in (True, False)),
    ],
    ids=["zf5", "caffenet", "vgg16", "old binaryproto", "binaryproto"],
)
def test_the_mean_is_the_originals_or_that_of_a_binaryproto(name, mean, expected, files, tmp_path):
    if mean is not None:
        (tmp_path / "mean.binaryproto").write_bytes(mean)
        mean = tmp_path / "mean.binaryproto"
    convert_caffe([files[name]], name, tmp_path / "out.safetensors", mean)
    backbone = build_backbone(name, tmp_path / "out.safetensors")
    assert (255 * backbone.mean).tolist() == pytest.approx(expected[::-1], rel=1e-5)
    assert (255 * backbone.std).tolist() == pytest.approx([1, 1, 1])
