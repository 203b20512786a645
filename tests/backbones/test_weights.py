"""Weights from torchvision's enum, served on this machine, and from good and bad files."""

import hashlib
import os
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from contracts import raised
from factories import serving
from safetensors.torch import save_file
from torchvision.models import SqueezeNet1_1_Weights, get_model
from torchvision.transforms._presets import ImageClassification

from sppdet.backbones.zoo import build_backbone
from sppdet.errors import WeightsError
from sppdet.files.atomic import save_tensors

WEIGHTS = SqueezeNet1_1_Weights.IMAGENET1K_V1.value


def error_of(name: str, weights: str | Path) -> WeightsError:
    return raised(WeightsError, build_backbone, name, weights)


def assert_same_state(first: torch.nn.Module, second: torch.nn.Module) -> None:
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


def drawn_backbone(name: str) -> torch.nn.Module:
    """A backbone all of whose numbers, also the mean and counters, are other than those it is built with."""
    backbone = build_backbone(name, "random")
    for tensor in backbone.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape).mul(9))
    return backbone


@pytest.fixture
def squeezenet(tmp_path) -> Path:
    """A weight file of torchvision's whole SqueezeNet 1.1."""
    torch.save(get_model("squeezenet1_1", weights=None).state_dict(), tmp_path / "squeezenet1_1.pth")
    return tmp_path / "squeezenet1_1.pth"


@pytest.mark.parametrize("name", ["shapenet", "resnet18", "squeezenet1_1"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".plain.safetensors"])
def test_saved_backbone_comes_back(name, suffix, tmp_path):
    backbone = drawn_backbone(name)
    path = tmp_path / f"backbone{suffix}"
    match suffix:
        case ".pth":
            torch.save(backbone.state_dict(), path)
        case ".safetensors":
            save_tensors(path, backbone.state_dict(), {"kind": "backbone"})
        case _:
            save_file({key: tensor.contiguous() for key, tensor in backbone.state_dict().items()}, path)
    assert_same_state(build_backbone(name, str(path)), backbone)


@pytest.mark.parametrize("other", ["head.last.weight", "head.layers.0.0.weight", "layers.0.0.weight", "thresholds"])
def test_a_classifier_or_detector_brings_its_network(tmp_path, other):
    backbone = drawn_backbone("shapenet")
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    save_tensors(tmp_path / "whole.safetensors", {**state, other: torch.zeros(3)})
    assert_same_state(build_backbone("shapenet", tmp_path / "whole.safetensors"), backbone)
    assert "the weights of zf5" in str(error_of("zf5", tmp_path / "whole.safetensors"))


def test_file_without_batch_counters(tmp_path):
    state = get_model("resnet18", weights=None).state_dict()
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    backbone = build_backbone("resnet18", tmp_path / "old.pth")
    assert torch.equal(backbone.layers.conv1.weight, state["conv1.weight"])


@pytest.mark.shared
def test_real_weights(shared):
    path = shared / "weights" / "squeezenet1_0.pth"
    backbone = build_backbone("squeezenet1_0", path)
    image = torch.rand(1, 3, 224, 224)
    network = get_model("squeezenet1_0", weights=None)
    network.load_state_dict(torch.load(path, weights_only=True))
    features = backbone(image)[0]
    assert features.shape == (1, 512, 13, 13)
    with torch.no_grad():
        torch.testing.assert_close(features, network.features.eval()(image), rtol=1e-4, atol=1e-3)


def test_a_missing_file_and_a_caffemodel_say_what_to_do(tmp_path):
    error = error_of("alexnet", tmp_path / "none.pth")
    assert "none.pth" in str(error)
    assert "IMAGENET1K_V1" in str(error)
    (tmp_path / "zf5.caffemodel").write_bytes(bytes(50))
    assert "`sppdet convert`" in str(error_of("zf5", tmp_path / "zf5.caffemodel"))


@pytest.mark.parametrize("name", ["zf5", "shapenet"])
def test_torchvision_has_no_weights_for_own_networks(name):
    assert f"torchvision has no weights for {name}" in str(error_of(name, "DEFAULT"))


@pytest.mark.parametrize(
    ("name", "other", "field", "said"),
    [
        ("squeezenet1_0", "squeezenet1_1", "features.0.weight", "squeezenet1_0, (96, 3, 7, 7), got (64, 3, 3, 3)"),
        ("resnet18", "squeezenet1_1", "conv1.weight", "resnet18"),
        ("shapenet", "squeezenet1_1", "layers.0.weight", "shapenet"),
        ("resnet18", "resnet34", "layer1.2.conv1.weight", "resnet18"),  # a deeper one
    ],
)
def test_weights_of_another_network(name, other, field, said, tmp_path):
    torch.save(get_model(other, weights=None).state_dict(), tmp_path / "other.pth")
    error = error_of(name, tmp_path / "other.pth")
    assert (error.file, error.field) == (tmp_path / "other.pth", field)
    assert said in str(error)


def test_keys_of_another_layout_are_named(tmp_path):
    torch.save({f"body.{i}.w": torch.zeros(2) for i in range(5)} | {"head.b": torch.zeros(2)}, tmp_path / "other.pth")
    error = error_of("resnet18", tmp_path / "other.pth")
    assert error.expected == "the weights of resnet18, 90 keys: conv1.weight, bn1.weight, bn1.bias, ..."
    assert error.got == "6 keys: body.0.w, body.1.w, body.2.w, ..."


@pytest.mark.parametrize("prefix", ["module.", "model.", "module._orig_mod.", ""])
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "shapenet"])
@pytest.mark.parametrize("wrapped", ["state_dict", "model", None])
def test_prefixes_and_checkpoints(name, prefix, wrapped, tmp_path):
    backbone = drawn_backbone(name)
    state = {f"{prefix}{key}": value for key, value in backbone.state_dict().items()}
    content = {wrapped: state, "epoch": 3} if wrapped else state
    torch.save(content, tmp_path / "weights.pth")
    assert_same_state(build_backbone(name, tmp_path / "weights.pth"), backbone)
    if not wrapped:
        save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.safetensors")
        assert_same_state(build_backbone(name, tmp_path / "weights.safetensors"), backbone)


def test_a_prefix_of_torchvisions_convolutions(tmp_path):
    network = get_model("squeezenet1_1", weights=None)
    for whole in (network.state_dict(), {k: v for k, v in network.state_dict().items() if k.startswith("features")}):
        torch.save({f"module.{key}": value for key, value in whole.items()}, tmp_path / "weights.pth")
        backbone = build_backbone("squeezenet1_1", tmp_path / "weights.pth")
        assert torch.equal(backbone.layers[0].weight, whole["features.0.weight"])


def test_first_missing_key(squeezenet):
    state = torch.load(squeezenet, weights_only=True)
    del state["features.4.squeeze.bias"], state["features.12.squeeze.bias"]
    torch.save(state, squeezenet)
    assert error_of("squeezenet1_1", squeezenet).field == "features.4.squeeze.bias"


FOREIGN = [b"<html>not found</html>", b"PK\x03\x04 zip?", b"\x80\x02}q\x00.", bytes(5000)]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [0, 1, 10, 1000, 100_000, *FOREIGN], ids=lambda content: str(content)[:30])
def test_truncated_and_other_files(suffix, content, squeezenet):
    path = squeezenet.with_suffix(suffix)
    if suffix == ".safetensors":
        save_file(torch.load(squeezenet, weights_only=True), path)
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    assert error_of("squeezenet1_1", path).file == path


@pytest.mark.parametrize(
    "content", [[torch.zeros(3)], torch.zeros(3), {"features.0.weight": 3}, {0: torch.zeros(3)}, {}, torch.nn.ReLU()]
)
def test_other_content_is_named_and_pickled_code_not_run(content, tmp_path):
    path = tmp_path / "content.pth"
    torch.save(content, path)
    error = error_of("squeezenet1_1", path)
    assert error.file == path
    assert "not a readable weight file" in str(error) or not isinstance(content, torch.nn.Module)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def served(squeezenet, monkeypatch) -> Iterator[Path]:
    """The SqueezeNet file under a name with its hash, where torchvision's enum now looks for it."""
    digest = hashlib.sha256(squeezenet.read_bytes()).hexdigest()[:8]
    path = squeezenet.rename(squeezenet.with_name(f"squeezenet1_1-{digest}.pth"))
    monkeypatch.setenv("TORCH_HOME", str(squeezenet.parent / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(squeezenet.parent)))
    monkeypatch.setattr(WEIGHTS, "url", f"http://127.0.0.1:{server.server_port}/{path.name}")
    with serving(server):
        yield path


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_download(served, weights, capsys):
    backbone = build_backbone("squeezenet1_1", weights)
    assert capsys.readouterr().out == ""
    assert_same_state(backbone, build_backbone("squeezenet1_1", served))


@pytest.mark.usefixtures("served")
def test_download_brings_its_mean_and_std(monkeypatch):
    preset = partial(ImageClassification, crop_size=224, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    monkeypatch.setattr(WEIGHTS, "transforms", preset)
    backbone = build_backbone("squeezenet1_1", "DEFAULT")
    assert backbone.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert backbone.std.tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_download_that_is_missing_or_has_the_wrong_hash(served):
    served.write_bytes(served.read_bytes() + b"x")
    assert "invalid hash" in str(error_of("squeezenet1_1", "DEFAULT"))
    served.unlink()
    assert re.search("404.*file named in backbone.weights", str(error_of("squeezenet1_1", "DEFAULT")))


def test_download_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(WEIGHTS, "url", "http://127.0.0.1:1/squeezenet-00000000.pth")
    assert "cannot be downloaded" in str(error_of("squeezenet1_1", "DEFAULT"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, suffix):
    state = {key: value.contiguous() for key, value in build_backbone("squeezenet1_1", "random").state_dict().items()}
    next(reversed(state.values())).view(-1)[0] = float("nan")
    (save_file if suffix == ".safetensors" else torch.save)(state, tmp_path / f"w{suffix}")
    error = error_of("squeezenet1_1", tmp_path / f"w{suffix}")
    assert str(error).startswith(f"{tmp_path / f'w{suffix}'}: {list(state)[-1]}: not finite")


def test_a_compressed_file_of_weights_is_refused(tmp_path):
    torch.save({"a": torch.zeros(9999)}, tmp_path / "stored.pt")
    with ZipFile(tmp_path / "stored.pt") as stored, ZipFile(tmp_path / "w.pt", "w", ZIP_DEFLATED) as packed:
        for part in stored.infolist():
            packed.writestr(part.filename, stored.read(part))
    assert "is not a readable weight file" in str(error_of("squeezenet1_1", tmp_path / "w.pt"))


@pytest.mark.skipif(os.name == "nt", reason="paths are text")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_path_that_is_not_utf8(tmp_path, suffix, backbone):
    weights = {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}
    file = tmp_path / f"weights{suffix}"
    save_file(weights, file) if suffix == ".safetensors" else torch.save(weights, file)
    file = file.rename(file.with_name(os.fsdecode(b"\xff") + suffix))
    assert build_backbone("shapenet", str(file)).state_dict().keys() == weights.keys()
