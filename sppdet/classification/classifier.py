"""The classifier: image -> convolutions -> spatial pyramid pooling -> fully connected layers -> class scores."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone, check_maps, is_too_small, last_conv_blocks
from sppdet.backbones.fully_connected import FullyConnected, build_fully_connected
from sppdet.backbones.geometry import Geometry
from sppdet.backbones.zoo import build_backbone
from sppdet.classification.views import prepare_views
from sppdet.config.classification import ClassifierConfig, ViewKind, ViewsConfig
from sppdet.config.network import Precision
from sppdet.config.record import as_dict, base_of, from_dict
from sppdet.errors import InputError
from sppdet.files.atomic import save_tensors, with_prefix
from sppdet.files.run_folder import RunFolder
from sppdet.images import ImageLike, as_image
from sppdet.pooling.joined import join_pyramids
from sppdet.pooling.windows import boxes_to_windows
from sppdet.runtime.memory import keep_freed_memory
from sppdet.runtime.stopwatch import stage


class Head(nn.Module):
    """Pooled features to class scores: fully connected layers, if any, and a linear one, its input times `scale`."""

    scale: Tensor

    def __init__(self, layers: FullyConnected | None, pooled: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = layers
        self.last = nn.Linear(layers.dimension if layers else pooled, classes)
        self.dropout = dropout
        self.register_buffer("scale", torch.ones(()))

    def features(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, D) to the input of the last layer before it is scaled."""
        dropout = self.dropout if self.training else 0.0
        return F.dropout(pooled, dropout) if self.layers is None else self.layers(pooled, dropout)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (B, D) to class scores (B, K)."""
        return self.last(self.features(pooled) * self.scale)


class Classifier(nn.Module):
    """A classifier of images of any size; its weights are frozen except during training.

    classes: names of labels 0..K-1. layers: those of `build_fully_connected`. The last layer is random.
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
        self.pyramids = join_pyramids(config.levels, config.pyramid.mode, backbone.channels, config.pyramid.unit_length)
        if layers and layers.inputs != self.pyramids.dimension:
            expected = f"{self.pyramids.dimension} inputs"
            raise InputError("do not match the configuration", field="layers", expected=expected, got=layers.inputs)
        self.head = Head(layers, self.pyramids.dimension, len(self.classes), dropout).to(backbone.device)
        self.requires_grad_(False).eval()

    @torch.inference_mode()
    def predict(self, image: ImageLike, views: ViewsConfig | ViewKind | None = None) -> Tensor:
        """Return the probability of each class, float32 (K,): the mean over the views of an image, resized for each.

        image: a file, tensor, array or PIL image. views: such as "10views"; by default the view of the training. Raises
        ConfigError if a window is larger than the image.
        """
        return self.score_views(image, views).mean(dim=0)

    @torch.inference_mode()
    def score_views(self, image: ImageLike, views: ViewsConfig | ViewKind | None = None) -> Tensor:
        """Return the probabilities (V, K) of each view."""
        pooled = self.pool_views(image, views)
        with stage("heads"):
            return self.head(pooled).softmax(dim=1)

    @torch.inference_mode()
    def pool_views(self, image: ImageLike, views: ViewsConfig | ViewKind | None = None) -> Tensor:
        """Return the pooled features (V, D) of each view, the input of the head."""
        views = views if isinstance(views, ViewsConfig) else ViewsConfig(views)
        with stage("preprocess"):
            prepared = prepare_views(as_image(image), views, self.config)
        pooled = []
        for pixels, boxes in prepared:
            with stage("conv"):
                maps = self.maps(pixels)  # each (1 or 2, C, h, w)
                check_maps(maps)
            with stage("pooling"):
                places = zip(self.backbone.geometries, maps, strict=True)
                windows = torch.stack([_windows(boxes, place, one, views) for place, one in places], dim=1)
                map_indices = torch.arange(len(pixels)).repeat_interleave(len(windows))
                pooled.append(self.pyramids(maps, windows.repeat(len(pixels), 1, 1), map_indices))
        return torch.cat(pooled)

    def forward(self, images: Tensor | Sequence[ImageLike]) -> Tensor:
        """Images uint8 (B, 3, H, W), or a list of images of any sizes, to class scores (B, K); their softmax are
        probabilities. Images keep their size; `predict` resizes them as in training."""
        return self.head(self.pool(images))

    def pool(self, images: Tensor | Sequence[ImageLike]) -> Tensor:
        """The same to pooled features (B, D). Images of different sizes go through the network one by one."""
        if len(images) == 0:
            raise InputError("none given", field="images", expected="one or more", got=0)
        if isinstance(images, Tensor):
            return self.pyramids(self.maps(images))
        several = [as_image(image) for image in images]
        alike = len({image.shape for image in several}) == 1
        batches = [torch.stack(several)] if alike else [image[None] for image in several]
        return torch.cat([self.pyramids(self.maps(batch)) for batch in batches])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Images uint8 (B, 3, H, W) to maps, each (B, C, h, w). Raises InputError if they are too small."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            got = f"{images.dtype} {tuple(images.shape)}"
            raise InputError("wrong type or shape", field="images", expected="uint8 (B, 3, H, W)", got=got)
        try:
            return [maps.float() for maps in self.backbone(self.backbone.normalize(images))]
        except RuntimeError as error:
            if not is_too_small(error):
                raise
            size = " x ".join(map(str, images.shape[2:]))
            raise InputError(f"too small for {self.backbone.name}", field="images", got=f"{size} pixels") from error

    def unfreeze(self, blocks: int | None) -> None:
        """Let the gradients reach the head and the convolutions of the network's last `blocks`.

        None: the whole network and its batch normalization. Raises ConfigError if the network has fewer blocks.
        """
        trained = self.backbone if blocks is None else last_conv_blocks(self.backbone, blocks)
        self.requires_grad_(False)
        self.head.requires_grad_(True)
        trained.requires_grad_(True)

    def train(self, mode: bool = True) -> Classifier:
        """Set the training mode; batch normalization enters it only if the whole network is trained."""
        super().train(mode)
        self.backbone.train(mode and all(weight.requires_grad for weight in self.backbone.parameters()))
        return self

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights, classes and configuration into one safetensors file."""
        config = as_dict(base_of(self.config, ClassifierConfig))
        header = {"kind": "classifier", "config": config, "classes": self.classes}
        save_tensors(path, self.state_dict(), header, "classifier")

    @classmethod
    def load(cls, path: str | PathLike[str], device: str = "auto", precision: Precision = "fp32") -> Classifier:
        """Read a classifier from a run folder or its file.

        Raises WeightsError if it is missing or damaged, ConfigError for an unknown configuration or device.
        """
        with RunFolder(path).open("classifier") as (file, tensors, header):
            config = from_dict(ClassifierConfig, header["config"], file)
            backbone = build_backbone(config.backbone.name, "random", device, precision, config.backbone.tap)
            depth = config.fc.depth
            layers = FullyConnected.from_tensors(with_prefix("head.layers.", tensors), depth) if depth else None
            classifier = cls(config, header["classes"], backbone, layers)
            classifier.load_state_dict(tensors)
            return classifier


def _windows(boxes: Tensor | None, geometry: Geometry, maps: Tensor, views: ViewsConfig) -> Tensor:
    """Return the windows (n, 4) on maps (B, C, h, w) of boxes in the image, with the whole map's if that is a view."""
    height, width = maps.shape[2:]
    whole = torch.tensor([[0, 0, width, height]])
    if boxes is None:
        return whole
    inside = boxes_to_windows(boxes, (1.0, 1.0), geometry, (height, width))
    return torch.cat([inside, whole]) if views.full_image else inside


def new_classifier(
    config: ClassifierConfig,
    classes: Sequence[str],
    device: str = "auto",
    precision: Precision = "fp32",
    dropout: float = 0.0,
) -> Classifier:
    """Build a classifier to train, with the weights that `config` names and a random last layer (torch's generator)."""
    backbone = build_backbone(config.backbone.name, config.backbone.weights, device, precision, config.backbone.tap)
    return Classifier(config, classes, backbone, build_fully_connected(config, backbone), dropout)
