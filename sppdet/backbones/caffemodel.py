"""A reader of Caffe's files, layers with their weights, from the bytes of the protocol buffers, without Caffe.

Field numbers are those of Caffe's public schema (BVLC/caffe, src/caffe/proto/caffe.proto). There are files of three
generations of layers: LayerParameter in `layer` (the last), V1LayerParameter in `layers`, and V0LayerParameter (2013)
inside that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple, TypeVar

import numpy as np

from sppdet.errors import WeightsError
from sppdet.files.atomic import reading_failed
from sppdet.runtime.limits import read_whole

T = TypeVar("T")
Value = int | memoryview  # a varint, or bytes
Message = dict[int, list[Value]]  # values of each field by its number, in the order of the file

VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # wire types; Caffe's files have no groups (3 and 4)
MOST_FIELDS = 1_000_000  # of a message; a network has hundreds of layers
MOST_DIMENSIONS = 32  # as in Caffe
FIXED_SIZES = {DOUBLE: 8, FLOAT: 4}


class Generation(NamedTuple):
    """Field numbers of a layer. parameters: of the messages with options, by kind; None: options are its own fields."""

    name: int
    kind: int
    blobs: int
    parameters: dict[str, int] | None = None


LAYER, LAYERS, V0_LAYER = 100, 2, 1  # in NetParameter, NetParameter, V1LayerParameter
V2 = Generation(1, 2, 7, {"Convolution": 106, "LRN": 118, "Pooling": 121})
V1 = Generation(4, 5, 6, {"Convolution": 10, "LRN": 18, "Pooling": 19})
V0 = Generation(1, 2, 50)
# Kinds of layers in V1 (numbers of an enum) and V0 (names).
V1_KINDS = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}
V0_KINDS = {"conv": "Convolution", "innerproduct": "InnerProduct", "lrn": "LRN", "pool": "Pooling"}
# Field numbers of a layer's options. Sides have one field for both, or one each for height and width.
OPTIONS: dict[str, dict[str, tuple[int, ...]]] = {
    "Convolution": {"kernel_size": (4, 11, 12), "stride": (6, 13, 14), "pad": (3, 9, 10), "group": (5,)},
    "Pooling": {"kernel_size": (2, 5, 6), "stride": (3, 7, 8), "pad": (4, 9, 10), "pool": (1,)},
    "LRN": {"local_size": (1,), "alpha": (2,), "beta": (3,), "norm_region": (4,), "k": (5,)},
}
V0_OPTIONS: dict[str, dict[str, tuple[int, ...]]] = {
    "Convolution": {"kernel_size": (8,), "stride": (10,), "pad": (7,), "group": (9,)},
    "Pooling": {"kernel_size": (8,), "stride": (10,), "pad": (7,), "pool": (11,)},
    "LRN": {"local_size": (13,), "alpha": (14,), "beta": (15,), "k": (22,)},
}
DEFAULTS = {"stride": 1, "group": 1, "local_size": 5, "alpha": 1, "beta": 0.75, "k": 1}  # others: 0
FLOATS = ("alpha", "beta", "k")


@dataclass(frozen=True, eq=False)
class CaffeLayer:
    """A layer of a file.

    kind: LayerParameter's type ("Convolution", "Pooling", "LRN", "InnerProduct", ...). blobs: weights and biases,
    float32 or float64, read-only, in the shapes of the file. options: those in OPTIONS of a layer that slides or
    normalizes, empty if the file does not have them; `pool` and `norm_region` are Caffe's enums.
    """

    name: str
    kind: str
    blobs: tuple[np.ndarray, ...]
    options: dict[str, float]


def read_caffemodel(path: str | PathLike[str]) -> list[CaffeLayer]:
    """Return the layers of a network saved by Caffe (.caffemodel: NetParameter), in the order of the file.

    Raises WeightsError for a file that is missing, damaged or of another kind.
    """
    expected = "a network saved by Caffe (.caffemodel)"
    layers = _decode(path, _read_layers, expected)
    if not any(layer.blobs for layer in layers):
        raise WeightsError("holds no weights", file=path, expected=expected)
    return layers


def read_binaryproto(path: str | PathLike[str]) -> np.ndarray:
    """Return an array saved by Caffe (.binaryproto: BlobProto), such as a mean image (1, 3, H, W).

    Raises WeightsError for a file that is missing, damaged or of another kind.
    """
    expected = "an array saved by Caffe (.binaryproto)"
    blob = _decode(path, lambda data: _read_blob(parse(data)), expected)
    if not blob.size:
        raise WeightsError("holds no numbers", file=path, expected=expected)
    return blob


def parse(data: memoryview) -> Message:
    """Return the fields of a message. Raises ValueError for bytes that are not a message, or end too early."""
    message: Message = {}
    position = count = 0
    while position < len(data):
        count += 1
        if count > MOST_FIELDS:
            raise ValueError(f"has a message of more than {MOST_FIELDS} fields")
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value: Value
        if number and wire == VARINT:
            value, position = _varint(data, position)
        elif number and wire in (BYTES, *FIXED_SIZES):
            size, position = (FIXED_SIZES[wire], position) if wire in FIXED_SIZES else _varint(data, position)
            value = data[position : position + size]
            if len(value) < size:
                raise ValueError(f"ends {size - len(value)} bytes early")
            position += size
        else:
            raise ValueError(f"has no field {number} of wire type {wire}")
        message.setdefault(number, []).append(value)
    return message


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number that starts at `position`, seven bits per byte, lowest first, and its end."""
    number = 0
    for k, byte in enumerate(data[position : position + 10]):
        number |= (byte & 127) << 7 * k
        if byte < 128:
            return number, position + k + 1
    raise ValueError("ends within a number")


def _decode(path: str | PathLike[str], read: Callable[[memoryview], T], expected: str) -> T:
    try:
        return read(memoryview(read_whole(path, WeightsError)))
    except OSError as error:
        raise WeightsError(reading_failed(error), file=path, expected=expected) from error
    except (ValueError, OverflowError) as error:  # also names that are not text, impossible shapes
        raise WeightsError(f"is damaged or of another kind: {error}", file=path, expected=expected) from error


def _read_layers(data: memoryview) -> list[CaffeLayer]:
    network = parse(data)
    layers = [_read_layer(parse(_bytes(value)), V2) for value in network.get(LAYER, [])]
    for value in network.get(LAYERS, []):
        layer = parse(_bytes(value))
        oldest = layer.get(V0_LAYER)
        layers.append(_read_layer(parse(_bytes(oldest[-1])), V0) if oldest else _read_layer(layer, V1))
    return layers


def _read_layer(layer: Message, generation: Generation) -> CaffeLayer:
    name = _text(layer.get(generation.name, []))
    if generation is V1:
        number = sum(_integers(layer.get(generation.kind, [])[-1:]))
        kind = V1_KINDS.get(number, f"type {number}")
    else:
        kind = _text(layer.get(generation.kind, []))
        kind = kind if generation is V2 else V0_KINDS.get(kind.replace("_", ""), kind)
    blobs = tuple(_read_blob(parse(_bytes(value)), name) for value in layer.get(generation.blobs, []))
    return CaffeLayer(name, kind, blobs, _read_options(layer, kind, generation, name))


def _read_options(layer: Message, kind: str, generation: Generation, name: str) -> dict[str, float]:
    if kind not in OPTIONS:
        return {}
    table = V0_OPTIONS[kind] if generation is V0 else OPTIONS[kind]
    if generation.parameters:
        if generation.parameters[kind] not in layer:
            return {}
        layer = parse(_bytes(layer[generation.parameters[kind]][-1]))
    elif not any(number in layer for numbers in table.values() for number in numbers):
        return {}  # forks of that time, SPP_net's among them, have the options elsewhere
    options = {}
    for option, numbers in table.items():
        values = [value for number in numbers for value in layer.get(number, [])]
        given = set(_floats(values, "<f4").tolist() if option in FLOATS else _integers(values))
        if len(given) > 1:
            raise ValueError(f"{name}: {option} is not one number but {sorted(given)[:5]}")
        options[option] = given.pop() if given else DEFAULTS.get(option, 0)
    return options


def _read_blob(blob: Message, layer: str = "array") -> np.ndarray:
    """Return an array (BlobProto): floats or doubles, with a shape or, in old files, four numbers."""
    data = _floats(blob[5], "<f4") if 5 in blob else _floats(blob.get(8, []), "<f8")
    shape: Sequence[int] = (len(data),)
    if 7 in blob:
        shape = _integers(parse(_bytes(blob[7][-1])).get(1, []))
    elif any(number in blob for number in (1, 2, 3, 4)):
        shape = [sum(_integers(blob.get(number, [])[-1:])) for number in (1, 2, 3, 4)]
    if len(shape) > MOST_DIMENSIONS or math.prod(shape) != len(data):
        raise ValueError(f"{layer}: {len(data)} numbers for a shape of {list(shape[:MOST_DIMENSIONS])}")
    if not np.isfinite(data).all():
        raise ValueError(f"{layer}: numbers that are not finite")
    return data.reshape(shape)


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("has a number where a message or text is expected")
    return value


def _text(values: Sequence[Value]) -> str:
    """Return the last of a field's values, the one that counts, as text; empty if there is none."""
    return str(_bytes(values[-1]), "utf-8") if values else ""


def _integers(values: Sequence[Value]) -> list[int]:
    """Return the numbers of a field, single or packed."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            numbers.append(number)
    return numbers


def _floats(values: Sequence[Value], dtype: str) -> np.ndarray:
    """Return the numbers of a field, single or packed; without a copy if packed."""
    parts = [_bytes(value) for value in values]
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"has {len(data)} bytes where whole numbers are expected")
    return np.frombuffer(data, dtype)
