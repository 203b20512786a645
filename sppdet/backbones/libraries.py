"""Networks of torchvision and timm by their names, up to the last map of stride 16, or up to their last map."""

from difflib import get_close_matches
from math import inf
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from sppdet.backbones.geometry import Map, follow
from sppdet.backbones.tracing import trace
from sppdet.config.network import Tap
from sppdet.errors import ConfigError

STRIDE = 16
TIMM = "timm/"
RANDOM_SEED = 0


def in_library(name: str) -> bool:
    """Return whether a network is one of torchvision's for classification, or asked of timm ("timm/NAME")."""
    from torchvision import models

    return name.startswith(TIMM) or name in models.list_models(module=models)


def whole_network(name: str, **options: Any) -> nn.Module:
    """Build a network of a library in evaluation mode, with its own initialization from a fixed seed.

    options: of timm's `create_model`. Raises ConfigError for a name that timm lacks, or if timm is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(RANDOM_SEED)
        if not name.startswith(TIMM):
            from torchvision.models import get_model

            return get_model(name, weights=None).eval()
        timm, model = _import_timm(name), name.removeprefix(TIMM)
        if not timm.is_model(model):
            close = ", ".join(get_close_matches(model, timm.list_models())) or "a name in timm.list_models()"
            raise ConfigError("unknown to timm", field="backbone.name", expected=close, got=model)
        return timm.create_model(model, **options).eval()


def normalization(network: nn.Module) -> dict[str, tuple[float, float, float]]:
    """Return the mean and std that the weights of one of timm's networks were trained with; empty for torchvision's."""
    config = getattr(network, "pretrained_cfg", {})
    return {key: config[key] for key in ("mean", "std") if key in config}


def cut(network: nn.Module, name: str, tap: Tap = "expansion") -> fx.GraphModule:
    """Return the part of a network up to the last map of stride 16 that everything after it is computed from.

    In ResNet this is the end of the third stage of blocks, where a network expands its channels before it halves the
    map (MobileNet, EfficientNet), that expansion. Layers keep their names. tap: "skip" returns this map and the
    network's last one. Raises InputError, naming the layer, if the geometry cannot be derived, and ConfigError if there
    is no such map.
    """
    graph = trace(network)
    maps = _last_maps(network, graph, inf if tap == "skip" else STRIDE)
    if STRIDE not in maps:
        raise ConfigError(f"no map of stride {STRIDE} that all later ones come from", field="backbone.name", got=name)
    *nodes, output = graph.nodes
    last, end = maps[STRIDE], maps[max(maps)]
    if tap == "skip" and end is last:
        raise ConfigError(f"no map of a stride over {STRIDE}", field="backbone.tap", expected="expansion", got=tap)
    output.args = ((last, end),) if tap == "skip" else (end,)
    for node in reversed(nodes[nodes.index(end) + 1 :]):
        graph.erase_node(node)
    for node in [node for node in nodes if node.op == "get_attr"]:
        if node.users:
            next(iter(node.users)).prepend(node)  # so that the layers are in the order of their use
        else:
            graph.erase_node(node)
    return fx.GraphModule(network, graph).eval()


def _last_maps(network: nn.Module, graph: fx.Graph, limit: float) -> dict[int, fx.Node]:
    """Return the last map of each stride up to `limit` that no later node bypasses."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    last, reach = {}, 0  # reach: of the last node that reads what comes before this one
    for node, place in follow(network, graph):
        if isinstance(place, Map):
            if place.geometry.stride > limit:
                break
            if reach <= order[node] and place == Map(place.geometry):
                last[place.geometry.stride] = node
        if place is not None:
            reach = max([reach, *(order[user] for user in node.users)])
    return last


def _import_timm(name: str) -> ModuleType:
    try:
        import timm
    except ImportError as error:
        hint = "`pip install timm`"
        raise ConfigError("timm is not installed", field="backbone.name", expected=hint, got=name) from error
    return timm
