"""Conversion of the papers' own networks, trained with Caffe, to weight files for `load_weights`.

The networks compute the same as in Caffe: the channels of conv1 are reordered from BGR to RGB, and the mean is stored
with the weights, so that `sppdet.images.normalize` gives the network Caffe's input, pixels of 0 to 255 less the mean.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.caffemodel import OPTIONS, CaffeLayer, read_binaryproto, read_caffemodel
from sppdet.backbones.lrn import AcrossChannelsNorm, WithinChannelNorm
from sppdet.backbones.weights import PRETRAINED
from sppdet.backbones.zoo import build_backbone
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import check_finite, save_tensors


class Original(NamedTuple):
    """A network of Caffe. convolutions: their names, first to last. mean: of the pixels, B G R in 0..255."""

    convolutions: tuple[str, ...]
    mean: tuple[float, float, float]


FIVE = ("conv1", "conv2", "conv3", "conv4", "conv5")
THIRTEEN = tuple(f"conv{block}_{k}" for block, depth in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, depth + 1))
ORIGINALS = {
    "caffenet": Original(FIVE, mean=(104.007, 116.669, 122.679)),  # of ILSVRC 2012
    "zf5": Original(FIVE, mean=(128.0, 128.0, 128.0)),  # SPP_net's utils/caffe_anysize_test.m
    **dict.fromkeys(("vgg16", "vgg16_caffe"), Original(THIRTEEN, mean=(103.939, 116.779, 123.68))),
}


def convert_caffe(
    files: Sequence[str | PathLike[str]],
    name: str,
    output: str | PathLike[str],
    mean: str | PathLike[str] | Sequence[float] | None = None,
) -> list[str]:
    """Convert a network saved by Caffe to a weight file for the backbone `name`.

    files: .caffemodel files. Layers of later files replace layers of earlier ones: SPPnet's fine-tuned fc6 and fc7 have
    a file of their own. mean: of the pixels, a .binaryproto (averaged per channel) or three numbers, B G R in 0..255;
    by default the original's. output: a .safetensors file for the Backbone's state dict and, if the files have them,
    fc6 and fc7 under the names in PRETRAINED.

    Returns Caffe's names of the converted layers. Raises ConfigError for a backbone without an original in Caffe, or an
    unusable output or mean, and WeightsError for files that cannot be read, lack a layer, or hold another network, with
    layers in another order or of other sizes, strides, padding, groups or normalization.
    """
    if name not in ORIGINALS:
        known = ", ".join(sorted(ORIGINALS))
        raise ConfigError("has no original in Caffe", field="backbone", expected=known, got=name)
    if Path(output).suffix != ".safetensors":
        raise ConfigError("cannot be used", field="output", expected="a .safetensors file", got=output)
    if not files:
        raise ConfigError("no file to convert", field="files", expected="a .caffemodel")
    pixel = _read_mean(ORIGINALS[name].mean if mean is None else mean)
    backbone = build_backbone(name, "random")
    layers = {layer.name: layer for file in files for layer in read_caffemodel(file)}
    source = " + ".join(map(str, files))
    _check_network(layers, backbone, source)
    state = {"mean": pixel.flip(0) / 255, "std": torch.full((3,), 1 / 255)}
    converted: list[str] = []
    for name_in_caffe, key, shape in _wanted_weights(layers, backbone):
        weight, bias = _weight_and_bias(layers[name_in_caffe], shape, source)
        state |= {f"{key}.weight": weight if converted else weight.flip(1), f"{key}.bias": bias}  # conv1: BGR to RGB
        converted.append(name_in_caffe)
    save_tensors(output, state, {"backbone": name, "files": list(map(str, files))})
    return converted


def _wanted_weights(layers: Mapping[str, CaffeLayer], backbone: Backbone) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield Caffe's name, sppdet's name and the weight's shape of the convolutions, then of fc6 and fc7 if given."""
    modules = ((key, module) for key, module in backbone.named_modules() if isinstance(module, nn.Conv2d))
    for name, (key, module) in zip(ORIGINALS[backbone.name].convolutions, modules, strict=True):
        yield name, key, tuple(module.weight.shape)
    levels, keys = PRETRAINED[backbone.name]
    inputs = backbone.channels[0] * sum(n * n for n in levels)
    for name, key in zip(("fc6", "fc7"), keys, strict=True):
        if name not in layers:
            return
        outputs = layers[name].blobs[-1].size if layers[name].blobs else 0
        yield name, key, (outputs, inputs)
        inputs = outputs


def _weight_and_bias(layer: CaffeLayer, shape: tuple[int, ...], source: str) -> tuple[Tensor, Tensor]:
    """Return a layer's weight, which must have this shape, and its bias (outputs,); float32."""
    if len(layer.blobs) != 2 or layer.blobs[0].ndim < 2:
        shapes = [blob.shape for blob in layer.blobs]
        raise WeightsError("wrong weights", file=source, field=layer.name, expected="a weight and a bias", got=shapes)
    with np.errstate(over="ignore"):
        weight, bias = (torch.from_numpy(blob.astype(np.float32)) for blob in layer.blobs)
    check_finite(source, {f"{layer.name}, weight": weight, f"{layer.name}, bias": bias})
    bias = bias.flatten()
    if len(shape) == 2:  # old files: (1, 1, outputs, inputs)
        weight = weight[0, 0] if weight.shape[:2] == (1, 1) else weight.flatten(1)
    expected, got = (shape, shape[:1]), (tuple(weight.shape), tuple(bias.shape))
    if expected != got:
        raise WeightsError("wrong shapes", file=source, field=layer.name, expected=expected, got=got)
    return weight, bias


def _check_network(layers: Mapping[str, CaffeLayer], backbone: Backbone, source: str) -> None:
    """Raise WeightsError unless the layers are the backbone's. Shapes are not enough: AlexNet's equal CaffeNet's."""
    names = ORIGINALS[backbone.name].convolutions
    network = f"the layers of {backbone.name}"
    for name in names:
        if name not in layers:
            got = ", ".join(layer.name for layer in layers.values() if layer.blobs)
            raise WeightsError("layer missing", file=source, field=name, expected=network, got=got)
    end = list(layers).index(names[-1]) + 1
    found = [layer for layer in list(layers.values())[:end] if layer.kind in OPTIONS or layer.blobs]
    wanted = [described for module in backbone.layers.children() if (described := _describe(module))]
    convolutions = iter(names)
    order = " ".join(next(convolutions) if kind == "Convolution" else kind for kind, _ in wanted)
    got = " ".join(layer.name if layer.kind == "Convolution" else layer.kind for layer in found)
    if got != order:
        raise WeightsError("another network's layers", file=source, field=backbone.name, expected=order, got=got)
    for layer, (_, options) in zip(found, wanted, strict=True):
        for option, value in options.items():
            given = layer.options.get(option, value)
            if not math.isclose(given, value, rel_tol=1e-5):  # Caffe's are in single precision
                field, expected, got = f"{layer.name}: {option}", f"{value:g} for {backbone.name}", f"{given:g}"
                raise WeightsError("another network's layer", file=source, field=field, expected=expected, got=got)


def _describe(module: nn.Module) -> tuple[str, dict[str, float]] | None:
    """Return kind and options of a layer as in `CaffeLayer`; None if it neither slides nor normalizes."""
    match module:
        case nn.Conv2d():
            return "Convolution", {**_sliding(module), "group": module.groups}
        case nn.MaxPool2d():
            return "Pooling", {**_sliding(module), "pool": 0}
        case AcrossChannelsNorm():
            sizes = {"local_size": module.size, "alpha": module.alpha, "beta": module.beta, "k": module.k}
            return "LRN", {**sizes, "norm_region": 0}
        case WithinChannelNorm():
            return "LRN", {"local_size": module.size, "alpha": module.alpha, "beta": module.beta, "norm_region": 1}
    return None


def _sliding(module: nn.Conv2d | nn.MaxPool2d) -> dict[str, float]:
    sides = {"kernel_size": module.kernel_size, "stride": module.stride, "pad": module.padding}
    return {option: float(side[0] if isinstance(side, tuple) else side) for option, side in sides.items()}


def _read_mean(mean: str | PathLike[str] | Sequence[float]) -> Tensor:
    """Return the mean pixel float32 (3,), B G R in 0..255."""
    if isinstance(mean, (str, PathLike)):
        image = read_binaryproto(mean)
        if image.shape[-3:-2] != (3,) or image.size != math.prod(image.shape[-3:]):
            raise WeightsError("is not a mean of color images", file=mean, expected="(1, 3, H, W)", got=image.shape)
        pixel = image.reshape(3, -1).mean(axis=1, dtype=np.float64).tolist()
    else:
        pixel = list(mean)
    if len(pixel) != 3 or not all(0 <= value <= 255 for value in pixel):
        raise ConfigError("cannot be used", field="mean", expected="a file, or [B,G,R] in 0..255", got=pixel)
    return torch.tensor(pixel, dtype=torch.float32)
