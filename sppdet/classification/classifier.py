"""The classifier: any image -> convolutions -> spatial pyramid pooling -> fully connected layers; save, load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.blocks import last_conv_blocks
from sppdet.backbones.fully_connected import FullyConnected, build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import Precision
from sppdet.config.record import as_dict, base_of, from_dict
from sppdet.errors import InputError, WeightsError
from sppdet.files.atomic import load_tensors, save_tensors, with_prefix
from sppdet.files.run_folder import RunFolder
from sppdet.images import as_image, normalize
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.runtime.memory import keep_freed_memory

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PILImage


class Head(nn.Module):
    """From pooled features to class scores: fully connected layers with a ReLU each, where there are any, and a last
    one, whose input is multiplied by the number `scale`."""

    scale: Tensor

    def __init__(self, layers: FullyConnected | None, pooled: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = layers
        self.last = nn.Linear(layers.dimension if layers else pooled, classes)
        self.dropout = dropout
        self.register_buffer("scale", torch.ones(()))

    def features(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, D) to those that the last layer sees, but for the scale."""
        dropout = self.dropout if self.training else 0.0
        features: Tensor = F.dropout(pooled, dropout) if self.layers is None else self.layers(pooled, dropout)
        return features

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, D) to class scores (B, K)."""
        scores: Tensor = self.last(self.features(pooled) * self.scale)
        return scores


class Classifier(nn.Module):
    """Tells the class of images of any size.

    classes: names of labels 0..K-1. layers: as `build_fully_connected` gives them for config. The last layer is random.
    Weights are frozen but while they are trained.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        classes: Sequence[str],
        backbone: Backbone,
        layers: FullyConnected | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        keep_freed_memory()
        self.config, self.classes = config, tuple(classes)
        self.backbone = backbone
        self.pyramid = SpatialPyramidPooling(config.levels, config.pyramid.mode)
        self.pooled = self.pyramid.out_features(backbone.channels)
        self.head = Head(layers, self.pooled, len(self.classes), dropout).to(backbone.device)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor | Sequence[Tensor | np.ndarray | PILImage]) -> Tensor:
        """Images uint8 (B, 3, H, W), or a list of any sizes (what `as_image` takes), to class scores (B, K); their
        softmax are probabilities. The network sees them at the size that they have; `views.predict` resizes them as
        in training."""
        scores: Tensor = self.head(self.pool(images))
        return scores

    def pool(self, images: Tensor | Sequence[Tensor | np.ndarray | PILImage]) -> Tensor:
        """The same to pooled features (B, D): images of different sizes go through the network one by one."""
        if len(images) == 0:
            raise InputError("none given", field="images", expected="one or more", got=0)
        if not isinstance(images, Tensor):
            several = [as_image(image) for image in images]
            alike = len({image.shape for image in several}) == 1
            maps = self.maps(torch.stack(several)) if alike else [self.maps(image[None])[0] for image in several]
        else:
            maps = self.maps(images)
        pooled: Tensor = self.pyramid(maps)
        return pooled

    def maps(self, images: Tensor) -> Tensor:
        """Images uint8 (B, 3, H, W) to feature maps (B, C, h, w). Raises InputError for a size too small for the
        network."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            got = f"{images.dtype} {tuple(images.shape)}"
            raise InputError("wrong type or shape", field="images", expected="uint8 (B, 3, H, W)", got=got)
        backbone = self.backbone
        pixels = normalize(images.to(backbone.device), backbone.mean, backbone.std)
        try:
            maps: Tensor = backbone(pixels)
        except RuntimeError as error:
            if not re.search("Calculated (padded input|output) size", str(error)):  # torch's words for no cells left
                raise
            size = " x ".join(map(str, images.shape[2:]))
            raise InputError(f"too small for {backbone.name}", field="images", got=f"{size} pixels") from error
        return maps.float()

    def unfreeze(self, blocks: int | None) -> None:
        """Let the head be trained, and with it the convolutions of the network's last `blocks`; None: the whole
        network, batch normalization with it. Raises ConfigError where it has fewer."""
        trained = self.backbone if blocks is None else last_conv_blocks(self.backbone, blocks)
        self.requires_grad_(False)
        self.head.requires_grad_(True)
        trained.requires_grad_(True)

    def train(self, mode: bool = True) -> Classifier:
        """As torch's, but batch normalization learns where the whole network does, and only there."""
        super().train(mode)
        self.backbone.train(mode and all(weight.requires_grad for weight in self.backbone.parameters()))
        return self

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, classes and configuration into one safetensors file."""
        config = as_dict(base_of(self.config, ClassifierConfig))
        save_tensors(path, self.state_dict(), {"kind": "classifier", "config": config, "classes": self.classes})

    @classmethod
    def load(cls, path: str | PathLike[str], device: str = "cpu", precision: Precision = "fp32") -> Classifier:
        """Read a classifier from its file or the run folder that holds it.

        Raises WeightsError where there is none or it is damaged, and ConfigError where its configuration is unknown or
        the device is not there.
        """
        file = RunFolder(path).find_classifier()
        tensors, header = load_tensors(file)
        if header.get("kind") != "classifier":
            raise WeightsError("is not a classifier", file=file, expected="a run folder or classifier.safetensors")
        try:
            config = from_dict(ClassifierConfig, header["config"], file)
            backbone = build_backbone(config.backbone.name, "random", device, precision)
            depth = config.fc.depth
            layers = FullyConnected.from_tensors(with_prefix("head.layers.", tensors), depth) if depth else None
            classifier = cls(config, header["classes"], backbone, layers)
            classifier.load_state_dict(tensors)
        except (KeyError, RuntimeError) as error:
            raise WeightsError("is not a classifier", file=file, got=error) from error
        return classifier


def new_classifier(
    config: ClassifierConfig,
    classes: Sequence[str],
    device: str = "cpu",
    precision: Precision = "fp32",
    dropout: float = 0.0,
) -> Classifier:
    """A classifier to be trained, with the weights that `config` names and a last layer from torch's generator."""
    backbone = build_backbone(config.backbone.name, config.backbone.weights, device, precision)
    return Classifier(config, classes, backbone, build_fully_connected(config, backbone), dropout)
