"""The network from images to their feature maps."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from sppdet.backbones.geometry import geometries_of
from sppdet.config.network import Precision
from sppdet.errors import ConfigError, WeightsError
from sppdet.images import normalize
from sppdet.runtime.forks import check_device

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network from normalized images to their conv5 map, or to several maps.

    channels: C of each map. geometries: position of each map's cells in the image. precision: of the convolutions.
    mean, std: float32 (3,), for `normalize`, ImageNet's unless the weights were trained with others. left_out: names of
    the whole network's weights that its layers after the last map have.
    """

    mean: Tensor
    std: Tensor
    left_out: frozenset[str] = frozenset()

    def __init__(self, name: str, layers: nn.Module, channels: Sequence[int], precision: Precision = "fp32") -> None:
        super().__init__()
        self.name = name
        self.layers = layers
        self.precision: Precision = precision
        self.channels = tuple(channels)
        self.geometries = geometries_of(layers)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("std", torch.tensor(IMAGENET_STD))

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def normalize(self, images: Tensor) -> Tensor:
        """Convert images uint8 (B, 3, H, W) to the network's input float32, on its device.

        Raises ConfigError if that is CUDA, which the process lost when it was forked.
        """
        check_device(self.device)
        return normalize(images.to(self.device), self.mean, self.std)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps (B, C, h, w) of normalized images float32 (B, 3, H, W), in `precision`."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32"):
            return as_maps(self.layers(images))


def is_too_small(error: RuntimeError) -> bool:
    """Return True for torch's error of an image that is too small for a single cell."""
    return re.search("Calculated (padded input|output) size|Output size is too small", str(error)) is not None


def check_maps(maps: Iterable[Tensor]) -> None:
    """Raise WeightsError if a network's maps hold NaN or infinite values, of which no detection would tell."""
    if not torch.stack([one.sum(dtype=torch.float32) for one in maps]).isfinite().all():
        expected = "other weights, or another precision of the network"
        raise WeightsError("the network gives values that are not finite", field="features", expected=expected)


def as_maps(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the maps of a network that computes one or several."""
    return output if isinstance(output, tuple) else (output,)


def last_conv_blocks(backbone: Backbone, blocks: int, field: str = "blocks") -> nn.ModuleList:
    """Return the convolutions in the last `blocks` blocks of a network.

    A block is a convolution, a Fire module or a stage of residual blocks; in networks of a library, the layers whose
    names begin with the same two parts, a stage or a residual block. Linear layers are convolutions, too. Batch
    normalization is not included. Raises ConfigError, naming `field`, if the network has fewer blocks.
    """
    parts = 1 if isinstance(backbone.layers, nn.Sequential) else 2
    convolutions: dict[tuple[str, ...], list[nn.Module]] = {}
    for name, layer in backbone.layers.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            convolutions.setdefault(tuple(name.split(".")[:parts]), []).append(layer)
    if not 0 <= blocks <= len(convolutions):
        raise ConfigError("out of range", field=field, expected=f"0 to {len(convolutions)}", got=blocks)
    return nn.ModuleList(chain.from_iterable(list(convolutions.values())[len(convolutions) - blocks :]))
