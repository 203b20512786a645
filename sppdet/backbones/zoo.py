"""The convolutional networks for detectors and classifiers, each up to its last convolution (conv5) or map."""

from collections import OrderedDict
from contextlib import redirect_stderr
from io import StringIO
from os import PathLike

import torch
from torch import nn

from sppdet.backbones.backbone import Backbone, as_maps
from sppdet.backbones.efficientnet_lite import MEAN, STD, VARIANTS, build_lite
from sppdet.backbones.libraries import STRIDE, cut, in_library, normalization, whole_network
from sppdet.backbones.lrn import AcrossChannelsNorm, WithinChannelNorm
from sppdet.backbones.weights import load_weights
from sppdet.config.network import Precision, Tap
from sppdet.errors import ConfigError
from sppdet.runtime.machine import find_device

OWN = ("caffenet", "zf5", "vgg16_caffe", *VARIANTS, "shapenet")
BACKBONES = (*OWN, "alexnet", "squeezenet1_0", "squeezenet1_1", "vgg16", "resnet18", "resnet50")
RANDOM_SEED = 0


def build_backbone(
    name: str,
    weights: str | PathLike[str],
    device: str = "auto",
    precision: Precision = "fp32",
    tap: Tap = "expansion",
) -> Backbone:
    """Build a network on `device` in evaluation mode, with frozen parameters, channels-last.

    name: one of BACKBONES, another of torchvision's for classification, or "timm/NAME" (see `cut`).
    weights: "random" (He initialization with a fixed seed), a name in torchvision's weights enum of this network
    ("DEFAULT", "IMAGENET1K_V1"), or a file for `load_weights`. precision: of the convolutions.
    tap: map to compute: of EfficientNet-Lite see `build_lite`, of torchvision's and timm's networks `cut`.
    Raises ConfigError for an unknown name, a map that the network does not have, or a device that is not available,
    WeightsError for unusable weights, and InputError for a network whose geometry cannot be derived.
    """
    place = find_device(device)
    of_library = name not in OWN and in_library(name)  # torchvision takes a second to import
    if not of_library and name not in BACKBONES:
        expected = f"{', '.join(sorted(BACKBONES))}, another of torchvision's or timm/NAME"
        raise ConfigError("unknown backbone", field="backbone.name", expected=expected, got=name)
    if name in VARIANTS or (name in BACKBONES and tap == "expansion"):
        # The meta device allocates and initializes nothing: VGG-16's classifier alone would take half a gigabyte.
        with torch.device("meta"):
            layers = build_lite(name, tap) if name in VARIANTS else _layers(name)
        layers.to_empty(device="cpu").eval()
        with torch.inference_mode():  # not on the meta device, whose batch normalization takes seconds to import
            channels = [maps.shape[1] for maps in as_maps(layers(torch.zeros(1, 3, 96, 96)))]
        backbone = Backbone(name, layers, channels, precision)
        if name in VARIANTS:
            backbone.mean.fill_(MEAN), backbone.std.fill_(STD)
    elif of_library and tap != "projection":
        backbone = _from_library(name, precision, tap)
    else:
        expected = "expansion or skip" if of_library else "expansion"
        raise ConfigError(f"not a map of {name}", field="backbone.tap", expected=expected, got=tap)
    _initialize(backbone, torch.Generator().manual_seed(RANDOM_SEED))
    if weights != "random":
        load_weights(backbone, weights)
    return backbone.eval().requires_grad_(False).to(place).to(memory_format=torch.channels_last)


def _from_library(name: str, precision: Precision, tap: Tap) -> Backbone:
    network = whole_network(name)
    layers = cut(network, name, tap)
    backbone = Backbone(name, layers, _try_sizes(layers, name), precision)
    for buffer, values in normalization(network).items():
        backbone.get_buffer(buffer).copy_(torch.tensor(values))
    backbone.left_out = frozenset(network.state_dict()) - frozenset(layers.state_dict())
    return backbone


def _try_sizes(layers: nn.Module, name: str) -> list[int]:
    """Return the channels of each map, or raise ConfigError unless images may have any size."""
    try:
        with redirect_stderr(StringIO()), torch.inference_mode():  # stderr: the graph prints where it failed
            for side in range(64, 64 + 2 * STRIDE, 2):  # with every remainder modulo the strides
                maps = as_maps(layers(torch.zeros(1, 3, side, side + 1)))
    except RuntimeError as error:
        raise ConfigError("cannot take images of any size", field="backbone.name", got=name) from error
    return [each.shape[1] for each in maps]


def _layers(name: str) -> nn.Sequential:
    own = {"caffenet": _caffenet, "zf5": _zf5, "shapenet": _shapenet}
    if name in own:
        return own[name]()
    from torchvision.models import get_model

    network = get_model(name.removesuffix("_caffe"), weights=None)
    if name.startswith("resnet"):
        top = ("layer4", "avgpool", "fc")
        return nn.Sequential(OrderedDict((key, layer) for key, layer in network.named_children() if key not in top))
    last_pooling = {"alexnet": 12, "vgg16": 30, "vgg16_caffe": 30}
    layers = network.features[: last_pooling.get(name)]
    if name == "vgg16_caffe":  # Caffe's pooling rounds a map's size up: at 600 pixels 38 cells, torchvision's 37
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
    return layers


def _caffenet() -> nn.Sequential:
    """Build CaffeNet, R-CNN's AlexNet (section 2.3), which normalizes after pooling: 227 pixels become 13 cells."""
    return nn.Sequential(
        *_convolution(3, 96, 11, stride=4),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        AcrossChannelsNorm(5, alpha=1e-4, beta=0.75),
        *_convolution(96, 256, 5, padding=2, groups=2),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        AcrossChannelsNorm(5, alpha=1e-4, beta=0.75),
        *_convolution(256, 384, 3, padding=1),
        *_convolution(384, 384, 3, padding=1, groups=2),
        *_convolution(384, 256, 3, padding=1, groups=2),
    )


def _zf5() -> nn.Sequential:
    """Build the paper's ZF-5 (table 1), with the LRN of the authors' code: 224 pixels become 13 cells, 180 10."""
    return nn.Sequential(
        *_convolution(3, 96, 7, stride=2, padding=1),
        WithinChannelNorm(3, alpha=5e-5, beta=0.75),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        *_convolution(96, 256, 5, stride=2),
        WithinChannelNorm(3, alpha=5e-5, beta=0.75),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        *_convolution(256, 384, 3, padding=1),
        *_convolution(384, 384, 3, padding=1),
        *_convolution(384, 256, 3, padding=1),
    )


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups), nn.ReLU(inplace=True)


def _shapenet() -> nn.Sequential:
    """Build a small network for the generated shapes of 30-110 pixels: stride 8, 96 channels, receptive field 55."""
    return nn.Sequential(
        *_block(3, 16, kernel=5, stride=2),
        *_block(16, 32),
        nn.MaxPool2d(2),
        *_block(32, 64),
        nn.MaxPool2d(2),
        *_block(64, 64),
        *_block(64, 96),
    )


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _initialize(backbone: Backbone, generator: torch.Generator) -> None:
    """Initialize the convolutions (He et al. 2015) and batch normalization, as the identity."""
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
