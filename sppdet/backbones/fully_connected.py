"""Fully connected layers between a region's pooled features and the heads: fc6 and fc7 of R-CNN and SPPnet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.weights import PRETRAINED, read_weights
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import NetworkConfig
from sppdet.config.record import from_dict
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import load_tensors, with_prefix

logger = logging.getLogger(__name__)

RANDOM_SEED = 0


class FullyConnected(nn.Sequential):
    """Fully connected layers with a ReLU after each. Their weights are frozen except during fine-tuning.

    A layer is a Sequential of one Linear or, if truncated, of two with no nonlinearity between them.
    """

    def __init__(self, layers: Iterable[Sequence[nn.Linear]]) -> None:
        super().__init__(*(nn.Sequential(*layer) for layer in layers))
        self.requires_grad_(False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], depth: int) -> FullyConnected:
        """Build the layers from a state dict, truncated ones by their names.

        Raises KeyError for a missing one, ValueError for tensors that are no layers, or that do not fit each other.
        """
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}  # not mapped from their file
        layers = []
        for k in range(depth):
            names = [f"{k}.0", f"{k}.1"] if f"{k}.1.weight" in tensors else [f"{k}.0"]
            layers.append([_linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias")) for name in names])
        every = [linear for layer in layers for linear in layer]
        if any(linear.out_features != following.in_features for linear, following in pairwise(every)):
            raise ValueError("fully connected layers that do not fit each other")
        return cls(layers)

    @property
    def dimension(self) -> int:
        """Length of the output features."""
        return self.linears[-1][-1].out_features

    @property
    def inputs(self) -> int:
        """Length of the input features."""
        return self.linears[0][0].in_features

    @property
    def linears(self) -> list[list[nn.Linear]]:
        """The Linear modules of each layer."""
        return [[linear for linear in layer.children() if isinstance(linear, nn.Linear)] for layer in self]

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """Compute features (n, dimension) from pooled features float32 (n, inputs), with this fraction of dropout."""
        for layer in self:
            features = F.dropout(layer(features).relu_(), dropout, training=dropout > 0)
        return features

    def truncated(self, ranks: Sequence[int]) -> FullyConnected:
        """Return the layers truncated to these ranks (see `truncate`). Raises ConfigError without one per layer."""
        if len(ranks) != len(self) or any(rank < 1 for rank in ranks):
            expected = f"{len(self)} numbers of at least 1, one per layer"
            raise ConfigError("wrong ranks", field="svd", expected=expected, got=list(ranks))
        return FullyConnected(truncate(layer, rank) for layer, rank in zip(self.linears, ranks, strict=True))


def truncate(layer: Sequence[nn.Linear], rank: int) -> Sequence[nn.Linear]:
    """Approximate a layer's weight W (out, in) by the nearest product of (out, rank) and (rank, in), unless that has no
    fewer numbers (Fast R-CNN, section 3.1)."""
    if rank * (layer[0].in_features + layer[-1].out_features) >= sum(linear.weight.numel() for linear in layer):
        return layer
    weight = layer[0].weight if len(layer) == 1 else layer[1].weight @ layer[0].weight
    # W W^T = U S^2 U^T, and U_r^T W = S_r V_r^T: cheaper than a full SVD. In double precision, because W is squared.
    wide = weight.double()
    _, vectors = torch.linalg.eigh(wide @ wide.T)  # eigenvalues ascend
    left = vectors[:, -rank:]
    return [_linear((left.T @ wide).float()), _linear(left.float().contiguous(), layer[-1].bias)]


def build_fully_connected(config: NetworkConfig, backbone: Backbone) -> FullyConnected | None:
    """Build the layers that `config.fc` describes, on the device of the backbone; None for a depth of 0.

    The weights of a classifier, and of a network in PRETRAINED, come from the file that `config.backbone` names. For
    the latter, fc6 reads the pyramid levels of the network's own pool5 and has zeros for the others, so the features
    are those of the pretrained network. Without weights, and for networks without such layers, the layers are random
    (He et al. 2015, with a fixed seed).
    Raises ConfigError for unusable values and WeightsError for weights without these layers.
    """
    depth, width = config.fc.depth, config.fc.width
    if depth == 0:
        return None
    linears = _of_classifier(config)
    if linears is None and backbone.name in PRETRAINED and config.backbone.weights != "random":
        linears = _pretrained(config, backbone)
    elif linears is None:
        logger.info("%s has no fully connected layers: new ones of %d, random until trained", backbone.name, width)
        pooled = sum(c * sum(n * n for n in own) for c, own in zip(backbone.channels, config.levels, strict=True))
        linears = _random([pooled, *[width] * depth])
    return FullyConnected([linear] for linear in linears).to(backbone.device)


def _of_classifier(config: NetworkConfig) -> list[nn.Linear] | None:
    """Return the layers of a classifier, if the weights are those of a classifier with at least as many layers."""
    file, depth = Path(config.backbone.weights).expanduser(), config.fc.depth
    try:
        tensors, header = load_tensors(file)
    except WeightsError:  # a name in torchvision's enum, or a file of another program
        return None
    if header.get("kind") != "classifier":
        return None
    if "fc" not in header["config"]:
        raise WeightsError("is a classifier of another version; train it again", file=file)
    if header["config"]["fc"]["depth"] < depth:
        return None
    own = from_dict(ClassifierConfig, header["config"], file)
    expected, got = (_describe_pyramid(each) for each in (own, config))
    if expected != got:
        reason = "not that of the classifier whose fully connected layers are used"
        raise ConfigError(reason, file=file, field="pyramid", expected=expected, got=got)
    layers = FullyConnected.from_tensors(with_prefix("head.layers.", tensors), depth)
    return [linear for layer in layers.linears for linear in layer]


def _describe_pyramid(config: NetworkConfig) -> str:
    unit = ", unit_length" if config.pyramid.unit_length else ""
    return f"{', '.join(map(str, config.levels))}, {config.pyramid.mode}{unit}"


def _pretrained(config: NetworkConfig, backbone: Backbone) -> list[nn.Linear]:
    own, names = PRETRAINED[backbone.name]
    (levels,) = config.levels  # these networks have one map
    if not set(own) <= set(levels):
        reason, expected = f"lacks what fc6 of {backbone.name} reads", f"{', '.join(map(str, own))} among them"
        field = "pyramid.levels" if levels == tuple(config.pyramid.levels) else "roi.size"
        raise ConfigError(reason, field=field, expected=expected, got=list(levels))
    state, source = read_weights(backbone.name, config.backbone.weights)
    linears: list[nn.Linear] = []
    inputs = backbone.channels[0] * sum(n * n for n in own)
    for name in names[: config.fc.depth]:
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            expected = f"the fully connected layers of {backbone.name}"
            raise WeightsError("layer missing", file=source, field=name, expected=expected)
        if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1]:
            shapes = f"weight (n, {inputs}), bias (n,)", f"{tuple(weight.shape)}, {tuple(bias.shape)}"
            raise WeightsError("wrong shape", file=source, field=name, expected=shapes[0], got=shapes[1])
        inputs = len(weight)
        linears.append(_linear(weight if linears else reorder_fc6(weight, own, levels), bias))
    return linears


def reorder_fc6(weight: Tensor, own: Sequence[int], levels: Sequence[int]) -> Tensor:
    """Reorder the columns of fc6's weight (out, C * sum(n^2)) from the layout of its file to that of the pyramid.

    own: levels that it reads, channel after channel within a level. levels: of the pyramid, bin after bin within a
    level, the channels of a bin together; columns of levels that are not in `own` are zero.

    >>> reorder_fc6(torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8]]), own=(2,), levels=(2, 1))  # two channels
    tensor([[1., 5., 2., 6., 3., 7., 4., 8., 0., 0.]])
    """
    channels = weight.shape[1] // sum(n * n for n in own)
    parts = dict(zip(own, weight.split([channels * n * n for n in own], dim=1), strict=True))
    columns = []
    for n in levels:
        part = parts.pop(n, None)  # once: a level given twice must not count twice
        if part is None:
            columns.append(weight.new_zeros(len(weight), channels * n * n))
        else:
            columns.append(part.unflatten(1, (channels, n * n)).transpose(1, 2).flatten(1))
    return torch.cat(columns, dim=1)


def _random(sizes: Sequence[int]) -> list[nn.Linear]:
    """Return random layers between features of these lengths."""
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    linears = []
    for inputs, outputs in pairwise(sizes):
        linear = _linear(torch.empty(outputs, inputs), torch.zeros(outputs))
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
        linears.append(linear)
    return linears


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError("no weight and bias of a fully connected layer")
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().float(), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().float(), requires_grad=False)
    return linear
