"""The position of feature-map cells in the image, derived from the layers of the network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from torch import fx, nn

from sppdet.backbones.lrn import WithinChannelNorm
from sppdet.backbones.tracing import Norm, describe, is_layer, trace
from sppdet.errors import InputError

Window = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
# Layers and functions that read one position at a time do not change the geometry. GroupNorm's statistics are of the
# whole map, like squeeze-and-excitation, but do not move its cells either.
POINTWISE_LAYERS = (
    *(Norm, nn.Identity, nn.Linear, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU),
    *(nn.SiLU, nn.GELU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
)
POINTWISE = (
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "silu", "gelu", "mish", "tanh", "sigmoid", "softplus", "clamp"),
    *("hardswish", "hardsigmoid", "hardtanh", "batch_norm", "layer_norm", "group_norm", "rms_norm", "linear"),
    *("dropout", "square", "pow", "sqrt", "rsqrt", "neg", "float", "to", "type", "clone", "contiguous"),
)
JOINING = ("add", "add_", "iadd", "sub", "mul", "mul_", "imul", "truediv", "expand_as")
QUERIES = ("shape", "ndim", "dtype", "device")


@dataclass(frozen=True)
class Geometry:
    """The position of a feature map's cells along either axis, in pixels of the network's input.

    stride: pixels between neighboring cells. center: 0-based pixel index of the middle of cell 0's receptive field.
    receptive_field: pixels that a cell sees. In continuous coordinates, in which pixel i covers [i, i + 1), cell j is
    centered at stride * j + center + 0.5.
    """

    stride: int
    center: float
    receptive_field: int


PIXELS = Geometry(stride=1, center=0.0, receptive_field=1)


class Map(NamedTuple):
    """A feature map in a graph, or a list of maps (B, C, h, w) into which one was split.

    channels: axis of its channels, 1 in (B, C, h, w) and 3 in (B, h, w, C).
    """

    geometry: Geometry
    channels: Literal[1, 3] = 1
    split: bool = False


# What a node of a graph holds: a map, something computed from all of a map's cells, or nothing of an image.
EVERYWHERE: Literal["everywhere"] = "everywhere"
Place = Map | Literal["everywhere"] | None


def geometries_of(network: nn.Module) -> tuple[Geometry, ...]:
    """Return the geometry of each map that a network or layer computes; sums and concatenations join branches.

    Squeeze-and-excitation, the weighting of channels by means over the whole map, is not counted in the receptive
    field. Raises InputError, naming the layer, for an unknown one, one that is not square, and branches that do not
    line up.

    >>> geometries_of(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)))
    (Geometry(stride=4, center=2.0, receptive_field=5),)
    """
    network = nn.Sequential(network) if is_layer(network) else network
    graph = trace(network)
    *_, output = graph.nodes
    places = dict(follow(network, graph))
    given = [places.get(node) for node in (output.args[0] if isinstance(output.args[0], tuple) else output.args)]
    maps = [place.geometry for place in given if isinstance(place, Map) and place.channels == 1]
    if len(maps) < len(given):
        raise InputError("does not compute a map (B, C, h, w)", field=type(network).__name__)
    return tuple(maps)


def follow(network: nn.Module, graph: fx.Graph) -> Iterator[tuple[fx.Node, Place]]:
    """Yield the nodes of a network's graph in order, with their places. Raises InputError like `geometry_of`."""
    places: dict[fx.Node, Place] = {}
    for node in graph.nodes:
        if node.op != "output":
            places[node] = _place(node, network, places)
            yield node, places[node]


def _place(node: fx.Node, network: nn.Module, places: Mapping[fx.Node, Place]) -> Place:
    if node.op == "placeholder":
        return Map(PIXELS)
    given = [places[one] for one in node.all_input_nodes]
    maps = [place for place in given if isinstance(place, Map)]
    if not maps:
        return EVERYWHERE if EVERYWHERE in given else None
    if node.op == "call_module":
        return _through_layer(network.get_submodule(str(node.target)), maps, describe(network, str(node.target)))
    return _through_function(node, maps, describe(network, node.meta["layer"]))


def _through_layer(layer: nn.Module, maps: Sequence[Map], where: str) -> Place:
    given = maps[0]
    match layer:
        case nn.Conv2d() | nn.MaxPool2d() | nn.AvgPool2d() if given.channels == 1:
            return Map(_slide(given.geometry, layer, where))
        case WithinChannelNorm():
            return Map(_slide(given.geometry, layer.neighbors, where))
        case nn.ZeroPad2d() if given.channels == 1:
            return _pad(given, layer.padding, where)
        case nn.AdaptiveAvgPool2d() if layer.output_size in (1, (1, 1)):
            return EVERYWHERE
    if isinstance(layer, POINTWISE_LAYERS):
        return given
    raise InputError("layer of unknown geometry", field=where)


def _through_function(node: fx.Node, maps: Sequence[Map], where: str) -> Place:
    """Return the place after a function or method of tensors, given those of its arguments that are maps."""
    name = node.target if isinstance(node.target, str) else node.target.__name__
    given = maps[0]
    spatial = {1, 2, 3} - {given.channels}

    def option(index: int, keyword: str, default: Any = None) -> Any:
        return node.args[index] if len(node.args) > index else node.kwargs.get(keyword, default)

    def axes(value: Any) -> list[int]:
        return [axis % 4 for axis in (value if isinstance(value, Sequence) else [value])]

    match name:
        case _ if name in POINTWISE:
            return given
        case _ if name in JOINING:
            return _join(maps, where)
        case "size" | "dim":
            return None
        case "getattr" if node.args[1] in QUERIES:
            return None
        case "cat" if axes(option(1, "dim", 0)) == [given.channels]:
            return _join(maps, where)
        case "chunk" | "split" if axes(option(2, "dim", 0)) == [given.channels]:
            return given._replace(split=True)
        case "getitem" if given.split and isinstance(node.args[1], int):
            return given._replace(split=False)
        case "getitem" if given.channels == 1 and _takes_channels(node.args[1]):
            return given
        case "mean" if set(axes(option(1, "dim", ()))) == spatial:
            return EVERYWHERE
        case "adaptive_avg_pool2d" if option(1, "output_size") in (1, (1, 1)):
            return EVERYWHERE
        case "pad" if given.channels == 1 and len(option(1, "pad")) == 4:
            return _pad(given, option(1, "pad"), where)
        case "permute":
            order = option(1, "dims") if isinstance(option(1, "dims"), Sequence) else node.args[1:]
            if axes(order) == ([0, 2, 3, 1] if given.channels == 1 else [0, 3, 1, 2]):
                return given._replace(channels=3 if given.channels == 1 else 1)
    raise InputError("function of unknown geometry", field=where, got=name)


def _takes_channels(index: Any) -> bool:
    """Return whether an index of a map (B, C, h, w) keeps all of its cells."""
    if not isinstance(index, tuple) or not all(isinstance(part, slice) for part in index):
        return False
    return all(part == slice(None) for axis, part in enumerate(index) if axis != 1)


def _slide(before: Geometry, layer: Window, where: str) -> Geometry:
    """Return the geometry after a sliding window. ceil_mode only adds cells at the far end."""
    kernel, stride, padding = (_side(layer, name, where) for name in ("kernel_size", "stride", "padding"))
    dilation = 1 if isinstance(layer, nn.AvgPool2d) else _side(layer, "dilation", where)
    reach = dilation * (kernel - 1)  # from the window's first input cell to its last
    return Geometry(
        stride=before.stride * stride,
        center=before.center + before.stride * (reach / 2 - padding),
        receptive_field=before.receptive_field + before.stride * reach,
    )


def _pad(given: Map, padding: Sequence[Any], where: str) -> Map:
    """Return the place after cells are added left, right, at the top and at the bottom."""
    left, _, top, _ = padding
    if left != top or not isinstance(left, int):
        raise InputError("padding is not square", field=where, expected="one number", got=tuple(padding))
    before = given.geometry
    return Map(replace(before, center=before.center - before.stride * left))


def _side(layer: Window, name: str, where: str) -> int:
    """Return a layer's kernel size, stride, padding or dilation, which must be the same along both axes."""
    value = getattr(layer, name)
    sides = {value} if isinstance(value, int | str) else set(value)
    side = sides.pop()
    if sides or not isinstance(side, int):
        raise InputError(f"{name} is not square", field=where, expected="one number", got=value)
    return side


def _join(maps: Sequence[Map], where: str) -> Map:
    """Return the place of parallel branches, added or concatenated: their cells must be less than one apart.

    A cell sees what it sees through any of them.
    """
    stride = maps[0].geometry.stride
    halves = [(one.geometry.center, (one.geometry.receptive_field - 1) / 2) for one in maps]
    centers = [center for center, _ in halves]
    alike = len({(one.geometry.stride, one.channels) for one in maps}) == 1
    if not alike or max(centers) - min(centers) >= stride:
        raise InputError("branches do not line up", field=where, got=[one.geometry for one in maps])
    first, last = min(center - half for center, half in halves), max(center + half for center, half in halves)
    return maps[0]._replace(geometry=Geometry(stride, (first + last) / 2, int(last - first) + 1))
