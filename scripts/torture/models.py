"""Detectors, classifiers, weights of other programs, Caffe's files, and cache entries.

Those with a digest are equal to what was written, or refused. A stranger may compute the digest as well: then what is
accepted has to work.
"""

import random
import struct
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from caffe_files import Layer, encode_blob, encode_network
from contracts import assert_detections
from factories import TINY, random_boxes, random_detector, random_image
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.caffemodel import read_binaryproto, read_caffemodel
from sppdet.backbones.weights import load_weights
from sppdet.backbones.zoo import build_backbone
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.files import atomic
from sppdet.files.atomic import load_cached, load_tensors, save_cached, save_tensors
from torture.mutate import change_tree, corrupt
from torture.target import Case, Target

IMAGE, BOXES = random_image(40, 50), random_boxes(5)
SLIDING = {"kernel_size": 3, "stride": 2, "pad": 1}
NETWORK = [
    Layer("conv1", "Convolution", {**SLIDING, "group": 2}, (np.arange(36.0).reshape(4, 1, 3, 3) / 7, np.arange(4.0))),
    Layer("pool1", "Pooling", {"pool": 1, **SLIDING, "pad": 0}),
    Layer("norm1", "LRN", {"local_size": 3, "alpha": 0.5, "beta": 0.25, "norm_region": 1, "k": 2.0}),
    Layer("fc6", "InnerProduct", {"num_output": 2}, (np.arange(10.0).reshape(2, 5), np.array([-1.0, 1e-9]))),
]


def targets() -> list[Target]:
    return [
        *(Target(f"{kind}-{how}", MODELS[kind, how]) for kind, how in MODELS),
        *(Target(f"weights{suffix}", lambda folder, suffix=suffix: _weights(folder, suffix)) for suffix in WEIGHTS),
        Target("caffemodel", lambda folder: _caffe(folder, read_caffemodel, _networks())),
        Target(
            "binaryproto", lambda folder: _caffe(folder, read_binaryproto, [encode_blob(np.ones((1, 3, 4, 5)), True)])
        ),
        Target("cache", _cache),
    ]


def _make_classifier() -> Classifier:
    config = ClassifierConfig(BackboneConfig("shapenet", "random"), PyramidConfig((2, 1)), FCConfig(1, 8), sizes=(48,))
    return new_classifier(config, ("a", "b"), "cpu", "fp32", 0.0)


def _use(model: Detector | Classifier) -> None:
    """What is found in an image keeps to its limits."""
    if isinstance(model, Detector):
        assert_detections(model.detect(IMAGE, BOXES), len(model.classes), (40, 50))
    else:
        found = model.predict(IMAGE)
        assert found.shape == (len(model.classes),)
        assert abs(float(found.sum()) - 1) < 1e-3


def _bytes_of(make: Callable[[], Detector | Classifier]) -> Callable[[Path], Case]:
    """Damaged bytes: refused, or without consequences."""

    def prepare(folder: Path) -> Case:
        model, file = make(), folder / f"{make().__class__.__name__.lower()}.safetensors"
        model.save(file)
        original, kind = file.read_bytes(), type(model)
        state = model.state_dict()

        def read(data: bytes) -> None:
            file.write_bytes(data)
            loaded = kind.load(file, "cpu")
            assert (loaded.config, loaded.classes) == (model.config, model.classes), "damage was not noticed"
            assert same_tensors(loaded.state_dict(), state), "damage was not noticed"

        return Case(lambda rng: damage_tensors(original, rng), read)

    return prepare


def _content_of(make: Callable[[], Detector | Classifier]) -> Callable[[Path], Case]:
    """Other headers and tensors with a correct digest: refused, or usable."""

    def prepare(folder: Path) -> Case:
        model, file = make(), folder / f"{make().__class__.__name__.lower()}.safetensors"
        model.save(file)
        tensors, header = load_tensors(file)
        tensors = {name: value.clone() for name, value in tensors.items()}

        def read(data: bytes) -> None:
            file.write_bytes(data)
            _use(type(model).load(file, "cpu"))

        return Case(lambda rng: _rewrite(folder / "made.safetensors", tensors, header, rng), read)

    return prepare


def damage_tensors(data: bytes, rng: random.Random) -> bytes:
    """Damage the header, or flip one bit of the tensors, or anything."""
    size = int.from_bytes(data[:8], "little")
    match rng.randrange(3):
        case 0:
            head = corrupt(data[8 : 8 + size], rng)
            length = rng.choice((size, len(head)))
            return struct.pack("<Q", length) + head + data[8 + size :]
        case 1:
            at = rng.randrange(8 + size, len(data))
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    return corrupt(data, rng)


def _rewrite(file: Path, tensors: Mapping[str, Tensor], header: dict[str, Any], rng: random.Random) -> bytes:
    changed = {name: value.clone() for name, value in tensors.items()}
    if rng.randrange(2):
        found = change_tree(header, rng)
        header = found if isinstance(found, dict) else {"kind": found}
    else:
        name = rng.choice(list(changed))
        value = changed.pop(name)
        numbers = (float("nan"), float("inf"), 1e38, -1e38, 1e-45, 0.0)
        new = rng.choice(
            (
                *(value.flatten()[:7], value[..., None], value.new_zeros(0), value.double(), value.to(torch.int32)),
                *(value.half(), torch.full_like(value.float(), rng.choice(numbers)), torch.tensor(1.0), value.bool()),
            )
        )
        changed |= {rng.choice((name, name, "other", "")): new.contiguous()}
    check, atomic.check_finite = atomic.check_finite, lambda *_: None  # as another program would write it
    try:
        save_tensors(file, changed, header, rng.choice(("detector", "classifier", "")))
    except (TypeError, ValueError):  # numbers that JSON does not have, which is refused when it is written
        save_tensors(file, changed, {}, "detector")
    finally:
        atomic.check_finite = check
    return file.read_bytes()


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


MODELS = {
    (kind, how): prepare(make)
    for kind, make in (("detector", lambda: random_detector(TINY)), ("classifier", _make_classifier))
    for how, prepare in (("bytes", _bytes_of), ("content", _content_of))
}
WEIGHTS = (".pth", ".zip.pth", ".safetensors")


def _weights(folder: Path, suffix: str) -> Case:
    """The state dict of a network, as torch writes it today and wrote it once, and as safetensors."""
    backbone, file = build_backbone("shapenet", "random"), folder / f"w{suffix}"
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    if suffix == ".safetensors":
        save_tensors(file, state)
    else:
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=suffix == ".zip.pth")
    original = file.read_bytes()

    def make(rng: random.Random) -> bytes:
        if suffix == ".safetensors":
            return damage_tensors(original, rng)
        return _damage_zip(original, rng) if suffix == ".zip.pth" and rng.randrange(3) else corrupt(original, rng)

    def read(data: bytes) -> None:
        file.write_bytes(data)
        load_weights(backbone, file)
        check_backbone(backbone, state)

    return Case(make, read)


def check_backbone(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    for name, value in backbone.state_dict().items():
        assert value.shape == state[name].shape
        assert value.isfinite().all(), f"{name} is not finite"


def _damage_zip(data: bytes, rng: random.Random) -> bytes:
    """The same archive with one member damaged, most often the pickle."""
    content = BytesIO()
    with ZipFile(BytesIO(data)) as source, ZipFile(content, "w") as target:
        names = source.namelist()
        chosen = rng.choice([*names, *[name for name in names if name.endswith("data.pkl")] * 30])
        for name in names:
            body = source.read(name)
            target.writestr(name, corrupt(body, rng) if name == chosen else body)
    return content.getvalue()


def _networks() -> list[bytes]:
    return [
        encode_network(NETWORK, *way) for way in (("V2", "packed"), ("V1", "loose"), ("V0", "packed"), ("V2", "double"))
    ]


def _caffe(folder: Path, reader: Callable[[Path], Any], seeds: list[bytes]) -> Case:
    file = folder / "a.caffemodel"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        found = reader(file)
        layers = found if isinstance(found, list) else []
        assert all(isinstance(blob, np.ndarray) and blob.dtype.kind == "f" for layer in layers for blob in layer.blobs)

    return Case(lambda rng: corrupt(rng.choice(seeds), rng, seeds), read)


def _cache(folder: Path) -> Case:
    """An entry of a cache: what was written, or nothing."""
    file, tensors = (
        folder / "0123.safetensors",
        {"boxes": torch.arange(80.0).reshape(20, 4), "size": torch.tensor([3, 4])},
    )
    save_cached(file, tensors)
    original = file.read_bytes()

    def read(data: bytes) -> None:
        file.unlink()  # as another file: equal sizes and times are taken for the same
        file.write_bytes(data)
        atomic._verified.clear()
        found = load_cached(file)
        assert found is None or same_tensors(found, tensors), "damage was not noticed"
        if found is None:
            raise atomic.WeightsError("damaged cache entry", file=file)

    return Case(lambda rng: damage_tensors(original, rng), read)
