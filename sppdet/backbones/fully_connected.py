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
from sppdet.config.network import NetworkConfig, PyramidConfig
from sppdet.config.record import from_dict
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import load_tensors, read_header, with_prefix

logger = logging.getLogger(__name__)

RANDOM_SEED = 0


class FullyConnected(nn.Sequential):
    """Layers, a ReLU after each; their weights are frozen but while they are fine-tuned.

    A layer is a Sequential of one Linear or, where it is truncated, of two with no nonlinearity between them.
    """

    def __init__(self, layers: Iterable[Sequence[nn.Linear]]) -> None:
        super().__init__(*(nn.Sequential(*layer) for layer in layers))
        self.requires_grad_(False)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], depth: int) -> FullyConnected:
        """From a copy of a state dict; which layers are truncated shows in its names. Raises KeyError where one is
        missing."""
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}  # out of the file they are mapped from
        layers = []
        for k in range(depth):
            names = [f"{k}.0", f"{k}.1"] if f"{k}.1.weight" in tensors else [f"{k}.0"]
            layers.append([_linear(tensors[f"{name}.weight"], tensors.get(f"{name}.bias")) for name in names])
        return cls(layers)

    @property
    def dimension(self) -> int:
        """Length of the features that come out."""
        return self.linears[-1][-1].out_features

    @property
    def inputs(self) -> int:
        """Length of the features that go in."""
        return self.linears[0][0].in_features

    @property
    def linears(self) -> list[list[nn.Linear]]:
        """What each layer is made of."""
        return [[linear for linear in layer.children() if isinstance(linear, nn.Linear)] for layer in self]

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """Pooled features float32 (n, inputs) to (n, dimension); in training with this share of each layer's left
        out."""
        for layer in self:
            features = F.dropout(layer(features).relu_(), dropout, training=dropout > 0)
        return features

    def truncated(self, ranks: Sequence[int]) -> FullyConnected:
        """The same layers, each of its rank; see `truncate`. Raises ConfigError unless there is one rank a layer."""
        if len(ranks) != len(self) or any(rank < 1 for rank in ranks):
            expected = f"{len(self)}, one a layer, of at least 1"
            raise ConfigError("wrong ranks", field="svd", expected=expected, got=list(ranks))
        return FullyConnected(truncate(layer, rank) for layer, rank in zip(self.linears, ranks, strict=True))


def truncate(layer: Sequence[nn.Linear], rank: int) -> Sequence[nn.Linear]:
    """A layer's weight W (out, in) as the product of (out, rank) and (rank, in), the nearest of that rank (Fast R-CNN,
    section 3.1). The layer as it is where that would take no fewer numbers."""
    if rank * (layer[0].in_features + layer[-1].out_features) >= sum(linear.weight.numel() for linear in layer):
        return layer
    weight = layer[0].weight if len(layer) == 1 else layer[1].weight @ layer[0].weight
    # W W^T = U S^2 U^T, and U_r^T W = S_r V_r^T: cheaper than a whole SVD. Double, as W is squared.
    wide = weight.double()
    _, vectors = torch.linalg.eigh(wide @ wide.T)  # eigenvalues ascend
    left = vectors[:, -rank:]
    return [_linear((left.T @ wide).float()), _linear(left.float().contiguous(), layer[-1].bias)]


def build_fully_connected(config: NetworkConfig, backbone: Backbone) -> FullyConnected | None:
    """The layers that `config.layers` asks for, on the device of the backbone; None for a depth of 0.

    Those of a classifier, and of the networks in PRETRAINED, come with the weights that `config.backbone` names. In the
    latter fc6 reads the pyramid levels that are the network's own pool5 and has zeros on the others, so that the
    features are the pretrained network's. Without weights, and for networks that have no such layers, they are random
    (He et al. 2015), the same every time.
    Raises ConfigError for values that cannot be used and WeightsError for weights without these layers.
    """
    depth, width = config.fc.depth, config.fc.width
    if depth == 0:
        return None
    linears = _of_classifier(config)
    if linears is None and backbone.name in PRETRAINED and config.backbone.weights != "random":
        linears = _pretrained(config, backbone)
    elif linears is None:
        logger.info("%s brings no fully connected layers: new ones of %d, random until trained", backbone.name, width)
        bins = sum(n * n for n in config.levels)
        linears = _random([backbone.channels * bins, *[width] * depth])
    return FullyConnected([linear] for linear in linears).to(backbone.device)


def _of_classifier(config: NetworkConfig) -> list[nn.Linear] | None:
    """Where the weights are a classifier's that has as many layers, these."""
    file, depth = Path(config.backbone.weights).expanduser(), config.fc.depth
    header = read_header(file)
    if header.get("kind") != "classifier" or header["config"]["fc"]["depth"] < depth:
        return None
    own = from_dict(PyramidConfig, header["config"]["pyramid"], file)
    if (own.levels, own.mode) != (config.levels, config.pyramid.mode):
        reason, got = "not that of the classifier whose fully connected layers are used", config.levels
        raise ConfigError(reason, file=file, field="pyramid", expected=own, got=f"{got}, {config.pyramid.mode}")
    tensors, _ = load_tensors(file)
    layers = FullyConnected.from_tensors(with_prefix("head.layers.", tensors), depth)
    return [linear for layer in layers.linears for linear in layer]


def _pretrained(config: NetworkConfig, backbone: Backbone) -> list[nn.Linear]:
    own, names = PRETRAINED[backbone.name]
    levels = config.levels
    if not set(own) <= set(levels):
        reason, expected = f"lacks what fc6 of {backbone.name} reads", f"{', '.join(map(str, own))} among them"
        field = "pyramid.levels" if levels == tuple(config.pyramid.levels) else "roi.size"
        raise ConfigError(reason, field=field, expected=expected, got=list(levels))
    state, source = read_weights(backbone.name, config.backbone.weights)
    linears: list[nn.Linear] = []
    inputs = backbone.channels * sum(n * n for n in own)
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
    """fc6 (out, C * sum(n^2)) over the levels `own`, columns channel after channel within each, as one over `levels`:
    bin after bin, the channels of a bin together, zeros on the levels that are not its own."""
    channels = weight.shape[1] // sum(n * n for n in own)
    parts = dict(zip(own, weight.split([channels * n * n for n in own], dim=1), strict=True))
    columns = []
    for n in levels:
        part = parts.pop(n, None)  # once: a level that stands twice must not count twice
        if part is None:
            columns.append(weight.new_zeros(len(weight), channels * n * n))
        else:
            columns.append(part.unflatten(1, (channels, n * n)).transpose(1, 2).flatten(1))
    return torch.cat(columns, dim=1)


def _random(sizes: Sequence[int]) -> list[nn.Linear]:
    """Layers between features of these lengths."""
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    linears = []
    for inputs, outputs in pairwise(sizes):
        linear = _linear(torch.empty(outputs, inputs), torch.zeros(outputs))
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
        linears.append(linear)
    return linears


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().float(), requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().float(), requires_grad=False)
    return linear
