"""Networks as Caffe has them: their files, encoded from the public schema byte by byte, and what Caffe computes, in
numpy. Both know nothing of sppdet. Weights are random, of the size that keeps pixels of 0..255 that large; fc6 and fc7
are narrow."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

IDS = {  # of the kinds of layers (V1: an enum; V0: names) and of the fields that hold their options
    "Convolution": (4, "conv", 10, 106),
    "Pooling": (17, "pool", 19, 121),
    "LRN": (15, "lrn", 18, 118),
    "InnerProduct": (14, "innerproduct", 17, 117),
    "ReLU": (18, "relu", 30, 123),
    "BatchNorm": (99, "batch_norm", 99, 139),
}
OPTION_IDS = {
    "Convolution": {"num_output": 1, "pad": 3, "kernel_size": 4, "group": 5, "stride": 6},
    "Pooling": {"pool": 1, "kernel_size": 2, "stride": 3, "pad": 4},
    "LRN": {"local_size": 1, "alpha": 2, "beta": 3, "norm_region": 4, "k": 5},
    "InnerProduct": {"num_output": 1},
}
OLD_OPTION_IDS = {
    **{"num_output": 3, "pad": 7, "kernel_size": 8, "group": 9, "stride": 10, "pool": 11},
    **{"local_size": 13, "alpha": 14, "beta": 15, "k": 22},
}


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    options: dict[str, float] = field(default_factory=dict)
    blobs: tuple[np.ndarray, ...] = ()


def varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def encode(number: int, value: float | str | bytes) -> bytes:
    """A field: whole numbers as varints, fractions as floats, text and messages with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def encode_blob(array: np.ndarray, old: bool = False, data: str = "packed") -> bytes:
    """BlobProto; old: its shape as four numbers. data: packed or loose floats, or packed doubles."""
    if old:
        sides = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(encode(number, side) for number, side in enumerate(sides, 1))
    else:
        shape = encode(7, encode(1, b"".join(map(varint, array.shape))))
    match data:
        case "packed":
            return shape + encode(5, array.astype("<f4").tobytes())
        case "loose":
            return shape + b"".join(encode(5, float(number)) for number in array.flat)
        case _:
            return shape + encode(8, array.astype("<f8").tobytes())


def encode_network(layers: Sequence[Layer], generation: str = "V2", data: str = "packed") -> bytes:
    """NetParameter with layers of the generation V2, V1 or V0."""
    return encode(1, "network") + b"".join(encode_layer(layer, generation, data) for layer in layers)


def encode_layer(layer: Layer, generation: str, data: str) -> bytes:
    number, old_kind, old_field, new_field = IDS[layer.kind]
    blobs = [encode_blob(blob, old=generation != "V2", data=data) for blob in layer.blobs]
    if generation == "V0":
        known = {name: value for name, value in layer.options.items() if name in OLD_OPTION_IDS}
        options = b"".join(encode(OLD_OPTION_IDS[name], value) for name, value in known.items())
        inner = encode(1, layer.name) + encode(2, old_kind) + options + b"".join(encode(50, blob) for blob in blobs)
        return encode(2, encode(1, inner) + encode(2, "below") + encode(3, "above"))
    options = b"".join(encode(OPTION_IDS[layer.kind][name], value) for name, value in layer.options.items())
    if generation == "V1":
        content = encode(2, "below") + encode(3, "above") + encode(4, layer.name) + encode(5, number)
        content += b"".join(encode(6, blob) for blob in blobs) + encode(7, 1.0) + encode(7, 2.0)
        return encode(2, content + (encode(old_field, options) if options else b""))
    content = encode(1, layer.name) + encode(2, layer.kind) + encode(3, "below") + encode(4, "above") + encode(10, 1)
    content += b"".join(encode(7, blob) for blob in blobs)
    return encode(100, content + (encode(new_field, options) if options else b""))


POOL = {"pool": 0, "kernel_size": 3, "stride": 2}
THREE = {"kernel_size": 3, "pad": 1}


def five_convolutions(order: str, norm: dict[str, float], *options: dict[str, int]) -> list[Layer]:
    """conv1 to conv5, the first two followed by pooling and normalization in the order given."""
    layers: list[Layer] = []
    for n, ((inputs, outputs), given) in enumerate(zip(pairwise((3, 96, 256, 384, 384, 256)), options, strict=True), 1):
        layers += convolution(f"conv{n}", inputs, outputs, **given)
        between = {"pool": Layer(f"pool{n}", "Pooling", POOL), "norm": Layer(f"norm{n}", "LRN", norm)}
        layers += [between[kind] for kind in order.split() if n <= 2]
    return layers


def caffenet() -> list[Layer]:
    """BVLC's models/bvlc_reference_caffenet: pooling before normalization."""
    first, second = {"kernel_size": 11, "stride": 4}, {"kernel_size": 5, "pad": 2, "group": 2}
    others = THREE, {**THREE, "group": 2}, {**THREE, "group": 2}
    norm = {"local_size": 5, "alpha": 1e-4, "beta": 0.75}
    layers = five_convolutions("pool norm", norm, first, second, *others)
    return [*layers, Layer("pool5", "Pooling", POOL), *connected(256 * 36)]


def zf5() -> list[Layer]:
    """SPP_net's model-defs/Zeiler_conv5.prototxt; fc6 reads the levels 1, 2, 3 and 6."""
    first, second = {"kernel_size": 7, "pad": 1, "stride": 2}, {"kernel_size": 5, "pad": 0, "stride": 2}
    norm = {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "norm_region": 1}
    return [*five_convolutions("norm pool", norm, first, second, THREE, THREE, THREE), *connected(256 * 50)]


def vgg16() -> list[Layer]:
    """VGG_ILSVRC_16_layers of Simonyan and Zisserman."""
    layers: list[Layer] = []
    inputs = 3
    for block, (depth, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for k in range(1, depth + 1):
            layers += convolution(f"conv{block}_{k}", inputs, outputs, pad=1, kernel_size=3)
            inputs = outputs
        layers.append(Layer(f"pool{block}", "Pooling", {**POOL, "kernel_size": 2}))
    return [*layers, *connected(512 * 49)]


def convolution(name: str, inputs: int, outputs: int, **options: int) -> list[Layer]:
    kernel, group = options["kernel_size"], options.get("group", 1)
    shape = (outputs, inputs // group, kernel, kernel)
    layer = Layer(name, "Convolution", {"num_output": outputs, **options}, weights(name, shape))
    return [layer, Layer(f"relu_{name}", "ReLU")]


def connected(inputs: int, widths: Sequence[int] = (8, 5)) -> list[Layer]:
    layers = []
    for name, (below, outputs) in zip(("fc6", "fc7"), pairwise((inputs, *widths)), strict=True):
        layers.append(Layer(name, "InnerProduct", {"num_output": outputs}, weights(name, (outputs, below))))
        layers.append(Layer(f"relu_{name}", "ReLU"))
    return layers


def weights(name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A weight (He et al. 2015) and a bias."""
    generator = np.random.default_rng(sum(name.encode()))
    weight = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return weight, generator.uniform(-5, 5, shape[0]).astype(np.float32)


def change(layers: Sequence[Layer], name: str, **options: float) -> list[Layer]:
    """The layers, one of them with other options."""
    return [replace(layer, options={**layer.options, **options}) if layer.name == name else layer for layer in layers]


def forward(layers: Sequence[Layer], maps: np.ndarray, first: str, last: str) -> np.ndarray:
    """Apply the layers from `first` to `last` to maps (C, h, w) in double precision."""
    names = [layer.name for layer in layers]
    for layer in layers[names.index(first) : names.index(last) + 1]:
        maps = COMPUTE[layer.kind](layer, maps)
    return maps


def convolve(layer: Layer, maps: np.ndarray) -> np.ndarray:
    """Cross-correlation, zeros beyond the edge; with two groups each half of the outputs sees half of the inputs."""
    options = {"pad": 0, "stride": 1, "group": 1} | layer.options
    pad, stride, group = int(options["pad"]), int(options["stride"]), int(options["group"])
    weight, bias = layer.blobs
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    parts = zip(np.split(weight.astype(np.float64), group), np.split(windows, group), strict=True)
    return np.concatenate([np.tensordot(w, x, ((1, 2, 3), (0, 3, 4))) for w, x in parts]) + bias[:, None, None]


def pool(layer: Layer, maps: np.ndarray) -> np.ndarray:
    """Maxima of windows that start inside the map, as many as it takes to see all of it, cut off at its edge."""
    kernel, stride = int(layer.options["kernel_size"]), int(layer.options["stride"])
    height, width = (-((kernel - side) // stride) + 1 for side in maps.shape[1:])  # -(-a // b) rounds up
    out = np.empty((len(maps), height, width))
    for i in range(height):
        for j in range(width):
            window = maps[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            out[:, i, j] = window.max(axis=(1, 2))
    return out


def normalize(layer: Layer, maps: np.ndarray) -> np.ndarray:
    """Local response normalization, across channels or within each."""
    size, alpha, beta = int(layer.options["local_size"]), layer.options["alpha"], layer.options["beta"]
    half = size // 2
    if layer.options.get("norm_region"):
        padded = np.pad(maps**2, ((0, 0), (half, half), (half, half)))
        height, width = maps.shape[1:]
        shifts = [(i, j) for i in range(size) for j in range(size)]
        sums = sum(padded[:, i : i + height, j : j + width] for i, j in shifts) / size**2
    else:
        sums = np.stack([(maps[max(0, c - half) : c + half + 1] ** 2).sum(axis=0) for c in range(len(maps))]) / size
    return maps / (1 + alpha * sums) ** beta


def multiply(layer: Layer, features: np.ndarray) -> np.ndarray:
    """The fully connected layer, on maps taken channel after channel or on features."""
    weight, bias = layer.blobs
    return weight.astype(np.float64) @ features.ravel() + bias


COMPUTE: dict[str, Callable[[Layer, np.ndarray], np.ndarray]] = {
    "Convolution": convolve,
    "Pooling": pool,
    "LRN": normalize,
    "InnerProduct": multiply,
    "ReLU": lambda _layer, maps: np.maximum(maps, 0),
}


def pool_pyramid(maps: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """SPP_net's utils/spm_pool: level after level, channel after channel, row after row."""
    pooled = []
    for n in levels:
        edges = [[(i * side // n, -(-(i + 1) * side // n)) for i in range(n)] for side in maps.shape[1:]]
        bins = [[maps[:, a:b, c:d].max(axis=(1, 2)) for c, d in edges[1]] for a, b in edges[0]]
        pooled.append(np.array(bins).transpose(2, 0, 1).ravel())
    return np.concatenate(pooled)


@dataclass(frozen=True)
class Original:
    """How a network is made, the generation of its file, a size at which rounding up matters, and its last layer."""

    make: Callable[[], list[Layer]]
    generation: str
    size: tuple[int, int]
    last: str = "relu_conv5"


NETWORKS = {
    "caffenet": Original(caffenet, "V2", (135, 103)),
    "zf5": Original(zf5, "V0", (101, 72)),
    "vgg16_caffe": Original(vgg16, "V1", (37, 42), "relu_conv5_3"),
}
