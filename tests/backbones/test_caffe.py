"""Converted networks against what Caffe computes, worked out in numpy; and networks that must not be converted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_files import (
    Layer,
    caffenet,
    change,
    connected,
    convolution,
    encode_blob,
    encode_network,
    forward,
    pool_pyramid,
    vgg16,
    zf5,
)
from factories import random_image

from sppdet.backbones.caffe import ORIGINALS, convert_caffe
from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.cli import main
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.errors import ConfigError, WeightsError
from sppdet.images import normalize
from sppdet.pooling.pyramid import SpatialPyramidPooling

NETWORKS: dict[str, Callable[[], list[Layer]]] = {"caffenet": caffenet, "zf5": zf5, "vgg16_caffe": vgg16}
GENERATIONS = {"caffenet": "V2", "zf5": "V0", "vgg16_caffe": "V1"}
SIZES = {"caffenet": (135, 103), "zf5": (101, 72), "vgg16_caffe": (37, 42)}  # at which rounding up matters
LAST = {"caffenet": "relu_conv5", "zf5": "relu_conv5", "vgg16_caffe": "relu_conv5_3"}
MEAN = (101.5, 117.25, 124.0)


@pytest.fixture(scope="module")
def networks() -> dict[str, list[Layer]]:
    return {name: make() for name, make in NETWORKS.items()}


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory) -> dict[str, Path]:
    """A caffemodel of each network."""
    folder = tmp_path_factory.mktemp("caffe")
    for name, layers in networks.items():
        (folder / f"{name}.caffemodel").write_bytes(encode_network(layers, GENERATIONS[name]))
    return {name: folder / f"{name}.caffemodel" for name in networks}


@pytest.fixture(scope="module")
def converted(files, tmp_path_factory) -> dict[str, Path]:
    """Each network as a weight file of sppdet's, with MEAN."""
    folder = tmp_path_factory.mktemp("converted")
    for name, file in files.items():
        convert_caffe([file], name, folder / f"{name}.safetensors", MEAN)
    return {name: folder / f"{name}.safetensors" for name in files}


def image_of(name: str) -> torch.Tensor:
    return random_image(*SIZES[name])


def as_caffe(image: torch.Tensor, mean: Sequence[float] = MEAN) -> np.ndarray:
    """The pixels that Caffe's network gets of an RGB image: B G R, less the mean."""
    return image.numpy()[::-1].astype(np.float64) - np.array(mean)[:, None, None]


def error_of(layers: Sequence[Layer], name: str, folder: Path) -> WeightsError:
    """The error of converting a network, which leaves no file."""
    file = folder / "other.caffemodel"
    file.write_bytes(encode_network(layers))
    with pytest.raises(WeightsError) as caught:
        convert_caffe([file], name, folder / "out.safetensors")
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
    assert not (folder / "out.safetensors").exists()
    return caught.value


# Their outputs


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
    expected = forward(networks[name], as_caffe(image), networks[name][0].name, LAST[name])
    with torch.inference_mode():
        found = backbone(normalize(image[None], backbone.mean, backbone.std))[0].double().numpy()
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
        even, odd = ([backbone(torch.ones(1, 3, side, side)) for backbone in backbones] for side in (48, 56))
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
    maps = torch.rand(1, backbone.channels, cells, cells, generator=torch.Generator().manual_seed(0)) * 100
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


# The mean


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


@pytest.mark.parametrize("mean", [(1, 2), (1, 2, 3, 4), (-1, 2, 3), (1, 2, 256), (1, 2, float("nan"))])
def test_a_mean_that_is_none(mean, files, tmp_path):
    with pytest.raises(ConfigError, match=r"^mean: .*\[B,G,R\] in 0\.\.255"):
        convert_caffe([files["zf5"]], "zf5", tmp_path / "out.safetensors", mean)


@pytest.mark.parametrize("shape", [(1, 1, 8, 6), (2, 3, 8, 6), (3,), (18, 18)])
def test_a_mean_image_that_is_none(shape, files, tmp_path):
    (tmp_path / "mean.binaryproto").write_bytes(encode_blob(np.ones(shape)))
    with pytest.raises(WeightsError, match=r"mean\.binaryproto: is not a mean of color images"):
        convert_caffe([files["zf5"]], "zf5", tmp_path / "out.safetensors", tmp_path / "mean.binaryproto")


# Other networks


@pytest.mark.parametrize("name", ["conv1", "conv4", "conv5"])
def test_a_missing_layer_is_named(name, networks, tmp_path):
    error = error_of([layer for layer in networks["zf5"] if layer.name != name], "zf5", tmp_path)
    assert (error.field, error.expected) == (name, "the layers of zf5")
    assert re.search("layer missing.*fc6, fc7", str(error))


def test_alexnet_is_not_caffenet(networks, tmp_path):
    layers = list(networks["caffenet"])
    for i in range(len(layers) - 1):
        if (layers[i].kind, layers[i + 1].kind) == ("Pooling", "LRN"):
            layers[i : i + 2] = layers[i + 1], layers[i]
    error = error_of(layers, "caffenet", tmp_path)
    assert error.field == "caffenet"
    assert error.expected == "conv1 Pooling LRN conv2 Pooling LRN conv3 conv4 conv5"
    assert error.got == "conv1 LRN Pooling conv2 LRN Pooling conv3 conv4 conv5"


@pytest.mark.parametrize(
    ("network", "place", "layers", "got"),
    [
        ("zf5", 1, [Layer("norm", "BatchNorm", {}, (np.ones(96), np.ones(96), np.ones(1)))], "conv1 BatchNorm LRN"),
        ("vgg16_caffe", 16, convolution("conv3_4", 256, 256, kernel_size=3, pad=1), "conv3_3 conv3_4 Pooling"),
    ],
)
def test_layers_in_between_that_have_weights(network, place, layers, got, networks, tmp_path):
    error = error_of([*networks[network][:place], *layers, *networks[network][place:]], network, tmp_path)
    assert got in str(error.got)
    assert got.split()[1] not in str(error.expected)


@pytest.mark.parametrize(
    ("name", "layer", "options", "expected", "got"),
    [
        ("zf5", "conv1", {"pad": 3}, "1 for zf5", "3"),  # Faster R-CNN's ZF
        ("zf5", "pool1", {"pad": 1}, "0 for zf5", "1"),
        ("zf5", "pool2", {"pool": 1}, "0 for zf5", "1"),
        ("zf5", "norm1", {"norm_region": 0}, "1 for zf5", "0"),
        ("zf5", "norm2", {"alpha": 1e-4}, "5e-05 for zf5", "0.0001"),
        ("zf5", "conv2", {"stride": 1}, "2 for zf5", "1"),
        ("caffenet", "norm1", {"local_size": 3}, "5 for caffenet", "3"),
        ("caffenet", "norm2", {"k": 2.0}, "1 for caffenet", "2"),
        ("caffenet", "conv1", {"kernel_size": 7}, "11 for caffenet", "7"),
        ("caffenet", "conv4", {"group": 1}, "2 for caffenet", "1"),
        ("caffenet", "norm2", {"beta": 0.5}, "0.75 for caffenet", "0.5"),
    ],
)
def test_another_networks_options_are_named(name, layer, options, expected, got, networks, tmp_path):
    error = error_of(change(networks[name], layer, **options), name, tmp_path)
    assert (error.field, error.expected, error.got) == (f"{layer}: {next(iter(options))}", expected, got)


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("conv1", ((96, 3, 7), (96,)), "((96, 3, 7, 7), (96,))"),
        ("conv2", ((256, 48, 5, 5), (256,)), "((256, 96, 5, 5), (256,))"),
        ("conv5", ((256, 384, 3, 3), (255,)), "((256, 384, 3, 3), (256,))"),
        ("conv3", ((384, 256, 3, 3),), "a weight and a bias"),
        ("conv3", (), "a weight and a bias"),
        ("conv3", ((384,), (384,)), "a weight and a bias"),
        ("fc6", ((8, 9216), (8,)), "((8, 12800), (8,))"),
        ("fc6", ((8, 12800), (7,)), "((7, 12800), (7,))"),
        ("fc7", ((5, 9), (5,)), "((5, 8), (5,))"),
    ],
)
def test_wrong_shapes_are_named(name, shapes, expected, networks, tmp_path):
    blobs = tuple(np.zeros(shape) for shape in shapes)
    layers = [replace(layer, blobs=blobs) if layer.name == name else layer for layer in networks["zf5"]]
    error = error_of(layers, "zf5", tmp_path)
    assert (error.field, str(error.expected)) == (name, expected)


# Arguments, and the command


def test_arguments_that_cannot_be_used(files, tmp_path):
    with pytest.raises(ConfigError, match=r"backbone: .*expected caffenet, vgg16, vgg16_caffe, zf5, got alexnet"):
        convert_caffe([files["zf5"]], "alexnet", tmp_path / "out.safetensors")
    with pytest.raises(ConfigError, match=r"output: .*safetensors.*out\.pth"):
        convert_caffe([files["zf5"]], "zf5", tmp_path / "out.pth")
    with pytest.raises(ConfigError, match="files: no file"):
        convert_caffe([], "zf5", tmp_path / "out.safetensors")


@pytest.mark.parametrize("mean", ["[104,117.5,123]", "mean.binaryproto"])
def test_the_command(mean, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mean.binaryproto").write_bytes(encode_blob(np.array([104, 117.5, 123]).reshape(1, 3, 1, 1)))
    assert main(["convert", str(files["zf5"]), "--backbone", "zf5", "--mean", mean]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "conv1, conv2, conv3, conv4, conv5, fc6, fc7 in zf5.safetensors"
    assert second.endswith("--backbone.name zf5 --backbone.weights zf5.safetensors")
    backbone = build_backbone("zf5", "zf5.safetensors")
    assert (255 * backbone.mean).tolist() == pytest.approx([123, 117.5, 104])


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--backbone", "resnet18"), 1, ("backbone", "caffenet, vgg16, vgg16_caffe, zf5", "resnet18")),
        (("--backbone", "caffenet"), 1, ("zf5.caffemodel", "conv1 LRN Pooling")),
        (("--backbone", "zf5", "--mean", "none.binaryproto"), 1, ("none.binaryproto", "not found")),
        (("--backbone", "zf5", "--mean", "[1,2]"), 1, ("mean", "[B,G,R]")),
        (("--backbone", "zf5", "--output", "zf5.pth"), 1, ("output", "zf5.pth")),
        ((), 2, ("required", "backbone")),
    ],
)
def test_mistakes_are_one_line(arguments, code, named, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(files["zf5"]), *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("sppdet: error: ")
    assert all(text in line for text in named)
    assert list(tmp_path.iterdir()) == []
