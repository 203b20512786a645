"""The reader against files of all three generations, and against files that are not what they should be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from caffe_files import Layer, encode, encode_blob, encode_network, varint
from contracts import raised
from factories import examples
from hypothesis import given, strategies as st

from sppdet.backbones.caffemodel import CaffeLayer, read_binaryproto, read_caffemodel
from sppdet.errors import WeightsError

SLIDING = {"kernel_size": 3, "stride": 2, "pad": 1}
NETWORK = [
    Layer("conv1", "Convolution", {**SLIDING, "group": 2}, (np.arange(36.0).reshape(4, 1, 3, 3) / 7, np.arange(4.0))),
    Layer("relu1", "ReLU"),
    Layer("pool1", "Pooling", {"pool": 1, **SLIDING, "pad": 0}),
    Layer("norm1", "LRN", {"local_size": 3, "alpha": 0.5, "beta": 0.25, "norm_region": 1, "k": 2.0}),
    Layer("fc6", "InnerProduct", {"num_output": 2}, (np.arange(10.0).reshape(2, 5), np.array([-1.0, 1e-9]))),
]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def error_of(read, path: Path) -> WeightsError:
    error = raised(WeightsError, read, path)
    assert error.file == path
    return error


def read_or_error(read, path: Path):
    """What a file holds; None where it gives our error."""
    try:
        return read(path)
    except WeightsError as error:
        assert error.file == path  # noqa: PT017
        return None


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "network.caffemodel"


@pytest.mark.parametrize("data", ["packed", "loose", "double"])
@pytest.mark.parametrize("generation", ["V2", "V1", "V0"])
def test_layers_come_back(generation, data, path):
    found = read_caffemodel(write(path, encode_network(NETWORK, generation, data)))
    assert [layer.name for layer in found] == [layer.name for layer in NETWORK]
    for layer, expected in zip(found, NETWORK, strict=True):
        if expected.kind != "ReLU":  # which is not told from others that change no numbers here
            assert layer.kind == expected.kind
        assert len(layer.blobs) == len(expected.blobs)
        for blob, array in zip(layer.blobs, expected.blobs, strict=True):
            sides = array.shape if generation == "V2" else (1,) * (4 - array.ndim) + array.shape
            assert blob.shape == sides
            precision = np.float64 if data == "double" else np.float32
            np.testing.assert_array_equal(blob, array.astype(precision).reshape(sides))
    conv1, _, pool1, norm1, fc6 = found
    assert conv1.options == NETWORK[0].options
    assert pool1.options == NETWORK[2].options
    known = {"local_size", "alpha", "beta", "k"} if generation == "V0" else set(NETWORK[3].options)
    assert norm1.options == {name: NETWORK[3].options[name] for name in known}
    assert fc6.options == {}


@pytest.mark.parametrize("generation", ["V2", "V1"])
def test_options_that_are_not_given_are_caffes_defaults(generation, path):
    layers = [
        replace(NETWORK[0], options={"kernel_size": 3}),
        Layer("pool", "Pooling", {"kernel_size": 2}),
        Layer("norm", "LRN", {"alpha": 0.5}),
        replace(NETWORK[0], name="bare", options={}),
    ]
    convolution, pool, norm, bare = read_caffemodel(write(path, encode_network(layers, generation)))
    assert convolution.options == {"kernel_size": 3, "stride": 1, "pad": 0, "group": 1}
    assert pool.options == {"kernel_size": 2, "stride": 1, "pad": 0, "pool": 0}
    assert norm.options == {"local_size": 5, "alpha": 0.5, "beta": 0.75, "norm_region": 0, "k": 1}
    assert bare.options == {}, "a layer without its options is not one with the defaults"


def conv_of(options: bytes) -> bytes:
    blob = encode(7, encode_blob(np.ones(3)))
    return encode(100, encode(1, "conv1") + encode(2, "Convolution") + blob + encode(106, options))


@pytest.mark.parametrize(
    "options",
    [
        encode(4, 3) + encode(3, 1) + encode(6, 2),
        encode(4, 3) + encode(4, 3) + encode(3, 1) + encode(3, 1) + encode(6, 2),
        encode(4, varint(3) * 2) + encode(3, varint(1) * 2) + encode(6, varint(2)),
        b"".join(encode(*pair) for pair in ((11, 3), (12, 3), (9, 1), (10, 1), (13, 2), (14, 2))),
    ],
    ids=["once", "twice", "packed", "height and width"],
)
def test_sides_may_be_given_in_many_ways(options, path):
    (layer,) = read_caffemodel(write(path, conv_of(options)))
    assert layer.options == {"kernel_size": 3, "stride": 2, "pad": 1, "group": 1}


def test_a_window_that_is_not_square_is_named(path):
    error = error_of(read_caffemodel, write(path, conv_of(encode(11, 3) + encode(12, 5))))
    assert "conv1: kernel_size is not one number but [3, 5]" in str(error)


def test_unknown_fields_of_every_wire_type_are_passed_over(path):
    unknown = encode(77, 2**60) + encode(78, 1.5) + encode(79, "text") + varint(80 << 3 | 1) + bytes(8)
    layer = unknown + encode(1, "fc6") + encode(2, "InnerProduct") + unknown
    blob = encode(7, unknown + encode_blob(np.ones((2, 3))) + unknown)
    (found,) = read_caffemodel(write(path, unknown + encode(100, layer + blob + unknown) + unknown))
    assert (found.name, found.kind, found.blobs[0].shape) == ("fc6", "InnerProduct", (2, 3))


@pytest.mark.parametrize("generation", ["V2", "V1", "V0"])
def test_a_file_that_is_cut_off_is_never_taken_for_whole(generation, path):
    whole = encode_network(NETWORK, generation)
    names = [layer.name for layer in read_caffemodel(write(path, whole))]
    ends = []
    for size in range(len(whole)):
        if found := read_or_error(read_caffemodel, write(path, whole[:size])):
            # Cut between two layers, which only the lack of a layer can show.
            assert [layer.name for layer in found] == names[: len(found)]
            ends.append(len(found))
    assert ends == list(range(1, len(names)))


@examples(300)
@given(st.data())
def test_damaged_bytes_give_layers_or_our_error(tmp_path_factory, data):
    content = bytearray(encode_network(NETWORK, data.draw(st.sampled_from(["V2", "V1", "V0"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp() / "damaged", bytes(content))
    assert all(isinstance(layer, CaffeLayer) for layer in read_or_error(read_caffemodel, path) or ())


@examples(300)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_array_or_our_error(tmp_path_factory, content):
    path = write(tmp_path_factory.getbasetemp() / "bytes", content)
    found = read_or_error(read_binaryproto, path)
    assert found is None or found.size > 0


FOREIGN = {
    "empty": b"",
    "prototxt": b'name: "CaffeNet"\nlayer {\n  name: "conv1"\n}\n',
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "zip": b"PK\x03\x04" + bytes(40),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "html": b"<!DOCTYPE html><html>not found</html>",
    "zeros": bytes(100),
    "a number that does not end": b"\xff" * 20,
    "only a name": encode(1, "network"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(name, path):
    for read in (read_caffemodel, read_binaryproto):
        assert "saved by Caffe" in str(error_of(read, write(path, FOREIGN[name])))


def test_other_kinds_of_files_and_networks_without_weights(path):
    error_of(read_caffemodel, write(path, encode_blob(np.ones((1, 3, 4, 4)), old=True)))
    error_of(read_caffemodel, write(path, encode_blob(np.ones((1, 3, 4, 4)))))
    error_of(read_binaryproto, write(path, encode_network(NETWORK)))
    bare = [replace(layer, blobs=()) for layer in NETWORK]
    assert "holds no weights" in str(error_of(read_caffemodel, write(path, encode_network(bare))))


@pytest.mark.parametrize("old", [True, False])
def test_a_shape_that_does_not_fit_its_numbers(old, path):
    other = encode(7, encode(1, varint(2) + varint(4)))
    blob = encode_blob(np.ones((2, 5)), old) + (encode(4, 4) if old else other)
    layer = encode(1, "fc6") + encode(2, "InnerProduct") + encode(7, blob)
    error = error_of(read_caffemodel, write(path, encode(100, layer)))
    assert "fc6: 10 numbers for a shape of [" in str(error)


@pytest.mark.parametrize("old", [True, False])
def test_a_mean_image(old, path):
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 5, 4)).astype(np.float32)
    np.testing.assert_array_equal(read_binaryproto(write(path, encode_blob(image, old))), image)


def test_files_that_are_not_there(tmp_path):
    for read in (read_caffemodel, read_binaryproto):
        assert "not found" in str(error_of(read, tmp_path / "none.caffemodel"))
        assert "cannot be read" in str(error_of(read, tmp_path))


def test_shapes_fields_and_numbers_are_bounded(path, monkeypatch):
    """A shape of 100,000 huge dimensions took half a minute to multiply."""
    shape = b"".join(varint(2**62) for _ in range(100_000))
    inner = encode(1, shape)
    write(path, encode(7, inner) + encode(5, np.zeros(4, "<f4").tobytes()))
    assert "4 numbers for a shape of" in str(error_of(read_binaryproto, path))
    assert len(str(error_of(read_binaryproto, path))) < 1000
    write(path, encode(5, np.array([1, np.nan], "<f4").tobytes()))
    assert "not finite" in str(error_of(read_binaryproto, path))
    monkeypatch.setattr("sppdet.backbones.caffemodel.MOST_FIELDS", 9)
    write(path, b"".join(encode(5, b"\0\0\0\0") for _ in range(10)))
    assert "more than 9 fields" in str(error_of(read_binaryproto, path))
