"""Networks that must not be converted, wrong arguments, and the command."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from caffe_files import Layer, change, convolution, encode_blob, encode_network
from contracts import raised
from factories import run_error

from sppdet.backbones.caffe import _weight_and_bias, convert_caffe
from sppdet.backbones.caffemodel import CaffeLayer
from sppdet.backbones.zoo import build_backbone
from sppdet.cli import main
from sppdet.errors import ConfigError, WeightsError


def error_of(layers: Sequence[Layer], name: str, folder: Path) -> WeightsError:
    """The error of converting a network, which leaves no file."""
    file = folder / "other.caffemodel"
    file.write_bytes(encode_network(layers))
    error = raised(WeightsError, convert_caffe, [file], name, folder / "out.safetensors")
    assert str(error).startswith(f"{file}: ")
    assert not (folder / "out.safetensors").exists()
    return error


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
        ((), 2, ("convert needs --backbone",)),
    ],
)
def test_mistakes_are_one_line(arguments, code, named, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (line,) = run_error(capsys, "convert", files["zf5"], *arguments, code=code).splitlines()
    assert all(text in line for text in named)
    assert list(tmp_path.iterdir()) == []


def test_a_mean_that_is_none(files, tmp_path):
    convert = partial(convert_caffe, [files["zf5"]], "zf5", tmp_path / "out.safetensors")
    for mean in ((1, 2), (1, 2, 3, 4), (-1, 2, 3), (1, 2, 256), (1, 2, float("nan"))):
        with pytest.raises(ConfigError, match=r"^mean: .*\[B,G,R\] in 0\.\.255"):
            convert(mean)
    for shape in ((1, 1, 8, 6), (2, 3, 8, 6), (3,), (18, 18)):
        (tmp_path / "mean.binaryproto").write_bytes(encode_blob(np.ones(shape)))
        with pytest.raises(WeightsError, match=r"mean\.binaryproto: is not a mean of color images"):
            convert(tmp_path / "mean.binaryproto")


def test_weights_too_large_for_single_precision_are_refused():
    layer = CaffeLayer("conv1", "Convolution", (np.full((2, 1, 1, 1), 1e300), np.zeros(2)), {})
    with pytest.raises(WeightsError, match=r"a\.caffemodel: conv1, weight: not finite"):
        _weight_and_bias(layer, (2, 1, 1, 1), "a.caffemodel")
