"""Detectors that are saved and loaded, whole and with fully connected layers, and files that are none."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from contracts import assert_same
from factories import CLASSES, TINY as CONFIG, random_boxes, random_detector, random_image

from sppdet.backbones.fully_connected import FullyConnected
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError, WeightsError
from sppdet.features.build import build_network
from sppdet.files import atomic
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.heads.linear import Heads

IMAGE, BOXES = random_image(60, 80), random_boxes()


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("head", ["svm", "softmax"])
@pytest.mark.parametrize("regress", [True, False])
def test_a_saved_detector_detects_the_same(tmp_path, features, head, regress):
    detector = random_detector(replace(CONFIG, head=head), regress).with_features(features)
    detector.save(tmp_path / "detector.safetensors")
    for path in (tmp_path, tmp_path / "detector.safetensors"):
        loaded = Detector.load(path)
        assert loaded.config == detector.config
        assert loaded.classes == CLASSES
        assert torch.equal(loaded.thresholds, detector.thresholds)
        assert (loaded.heads.kind, loaded.heads.box_regression) == (head, regress)
        assert_same(loaded.detect(IMAGE, BOXES), detector.detect(IMAGE, BOXES))


def make_deep_detector() -> Detector:
    """On random layers of 40 and 40."""
    config = replace(CONFIG, fc=FCConfig(2, 40))
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    return Detector(config, CLASSES, build_network(config), Heads.from_linear("svm", (weight, torch.zeros(3))))


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("ranks", [None, (7, 1000), (7, 5)])
def test_a_detector_keeps_its_fully_connected_layers(tmp_path, features, ranks):
    detector = make_deep_detector().with_features(features)
    detector = detector.truncated(ranks) if ranks else detector
    detector.save(tmp_path / "detector.safetensors")
    loaded = Detector.load(tmp_path)
    assert loaded.layers is not None
    assert [len(layer) for layer in loaded.layers.linears] == ([2 if r < 20 else 1 for r in ranks] if ranks else [1, 1])
    assert_same(loaded.detect(IMAGE, BOXES), detector.detect(IMAGE, BOXES))
    assert loaded.encode(IMAGE).features(BOXES).shape == (40, 40)
    back = loaded.with_features("spp" if features == "crop" else "crop").with_features(features)
    assert_same(back.detect(IMAGE, BOXES), detector.detect(IMAGE, BOXES))


def test_other_features_leave_what_they_do_not_use():
    config = replace(CONFIG, pyramid=replace(CONFIG.pyramid, last_levels=(3,)))
    other = random_detector(config).with_features("crop")
    assert other.config == replace(config, features="crop")


def test_a_truncated_detector_scores_nearly_the_same():
    detector = make_deep_detector()
    exact, near, far = (d.encode(IMAGE).score(BOXES) for d in (detector, *map(detector.truncated, ((30, 19), (1, 1)))))
    assert 0 < (exact - near).norm() < 0.7 * (exact - far).norm()
    assert detector.config == detector.truncated((30, 19)).config
    with pytest.raises(ConfigError, match=r"svd: the detector has no fully connected layers .*got \[7, 5\]"):
        random_detector().truncated((7, 5))


def rewrite(file, without: str = "", **header) -> None:
    tensors, old = load_tensors(file)
    save_tensors(file, {name: tensor.clone() for name, tensor in tensors.items() if name != without}, old | header)


OTHER_NETWORK = replace(CONFIG, backbone=BackboneConfig("squeezenet1_1", "random"))
DAMAGE = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1000]),
    "empty": lambda file: file.write_bytes(b""),
    "foreign": lambda file: save_tensors(file, {"boxes": torch.zeros(3, 4)}, {"proposals": 3}),
    "headless": lambda file: rewrite(file, without="heads.weight"),
    "layerless": lambda file: rewrite(file, config=asdict(replace(CONFIG, fc=FCConfig(1)))),
    "network": lambda file: rewrite(file, config=asdict(OTHER_NETWORK)),
    "older": lambda file: rewrite(file, kind=None),
    "classes": lambda file: rewrite(file, classes=["a", "b"]),
    "equal classes": lambda file: rewrite(file, classes=["a", "a", "b"]),
    "no list": lambda file: rewrite(file, classes=3),
    "no file": lambda file: file.unlink(),
}


@pytest.fixture
def file(tmp_path) -> Path:
    """Of a detector."""
    random_detector().save(tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors"


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_no_detector_is_named(file, damage):
    damage(file)
    for path in (file, file.with_name("none")):
        with pytest.raises(WeightsError, match=str(path)):
            Detector.load(path)


def test_weights_that_are_not_finite_and_classes_that_do_not_fit_are_named(file, monkeypatch):
    rewrite(file, classes=["a", "b"])
    with pytest.raises(WeightsError, match=r"classes: wrong number .expected 3, as the weights have, got 2"):
        Detector.load(file)
    tensors, header = load_tensors(file)
    weight = tensors["heads.weight"].clone()
    weight[0, 0] = float("nan")
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "check_finite", lambda *_: None)  # a file of someone else
        save_tensors(file, {**{n: t.clone() for n, t in tensors.items()}, "heads.weight": weight}, header)
    with pytest.raises(WeightsError, match=f"{file}: heads.weight: not finite"):
        Detector.load(file)


@pytest.mark.parametrize("shapes", [[(4,)], [(4, 3), (5,)], [(4, 3), (4,), (2, 5), (2,)]])
def test_tensors_that_are_no_layers_are_refused_when_they_are_read(shapes):
    names = ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    tensors = {name: torch.zeros(shape) for name, shape in zip(names, shapes, strict=False)}
    with pytest.raises(ValueError, match="fully connected layer"):
        FullyConnected.from_tensors(tensors, len(tensors) // 3 + 1)


def test_a_detector_of_an_unknown_configuration_is_named(file):
    rewrite(file, config={**asdict(CONFIG), "roi_align": True})
    with pytest.raises(ConfigError, match=rf"{file}: roi_align: unknown configuration key"):
        Detector.load(file)
