"""Training of detectors and classifiers, resumed and moved from one device to the other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts import assert_close_rows
from factories import image_file, random_image, random_maps, train_config

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.classification.classifier import Classifier
from sppdet.classification.training import train_classifier
from sppdet.comparison.timing import random_boxes
from sppdet.config.classification import FitConfig, FoldersConfig, TrainClassifierConfig
from sppdet.config.heads import SoftmaxConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import Detector
from sppdet.features.build import build_network
from sppdet.heads.linear import Heads
from sppdet.proposals.cache import propose_image
from sppdet.training import finetune, gradient_descent, train as module
from sppdet.training.finetune import sample_image
from sppdet.training.sampling import ImageRegions
from sppdet.training.train import train

SIZE = (120, 160)
# A change of all weights by 1e-6 moves some scores by 20 to 90% after two epochs at a rate of 0.01, by up to 5% so.
TUNED = FinetuneConfig(epochs=1, blocks=2, learning_rate=5e-4, regions_per_image=16, dropout=0.0)


def config_on(device: str, shapes: Path, output: Path, **changes) -> TrainConfig:
    return replace(train_config(shapes, output), softmax=SoftmaxConfig(regions_per_image=16), device=device, **changes)


def scores_of(detector: Detector) -> torch.Tensor:
    return detector.encode(random_image(*SIZE)).score(random_boxes(SIZE, 60)).cpu()


def assert_alike(found: Detector, expected: Detector, tolerance: float = 0.03) -> None:
    """Scores of two trainings whose sums were rounded in another order, which moves what they mine and where they stop:
    alike on the mean, relative to the largest."""
    difference = (scores_of(found) - scores_of(expected)).abs().mean()
    assert difference <= tolerance * scores_of(expected).abs().max()


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("head", ["svm", "softmax"])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_training(device, features, head, depth, shapes, tmp_path):
    changes = {"features": features, "head": head, "fc": FCConfig(depth, 24)}
    detectors = [train(config_on(place, shapes, tmp_path / name, **changes)) for name, place in _places(device)]
    assert detectors[1].backbone.device.type == device
    assert_alike(detectors[1], detectors[0])
    maps = [json.loads((tmp_path / name / "val.json").read_text())["map_voc07"] for name, _ in _places(device)]
    assert abs(maps[1] - maps[0]) < 0.1


def _places(device: str) -> list[tuple[str, str]]:
    """Names of runs and their devices."""
    return [("here", "cpu"), ("there", device)]


@pytest.mark.parametrize("head", ["svm", "softmax"])
@pytest.mark.parametrize("depth", [0, 1])
def test_fine_tuning_through_the_pooling(device, head, depth, shapes, tmp_path):
    changes = {"finetune": TUNED, "head": head, "fc": FCConfig(depth, 24)}
    here, there = (train(config_on(place, shapes, tmp_path / name, **changes)) for name, place in _places(device))
    assert_alike(there, here, 0.1)


@pytest.mark.parametrize("features", ["spp", "crop", "roi_pool", "roi_align"])
@pytest.mark.parametrize("depth", [0, 1])
def test_gradients_of_fine_tuning(device, features, depth, shapes, tmp_path):
    """Of one image's loss, with respect to two blocks of convolutions, the fully connected layer and the heads."""
    config = config_on("cpu", shapes, tmp_path, finetune=TUNED, features=features, fc=FCConfig(depth, 24))
    image = read_dataset(config.data).images[0]
    regions = ImageRegions.from_annotations(image, propose_image(image.read(), config.proposals))
    sample = sample_image(regions, TUNED, config.softmax, np.random.default_rng(0))
    gradients = []
    for place in ("cpu", device):
        extractor = build_network(config, place)
        weight = random_maps(5 * 6 + 1, extractor.dimension) / 100
        heads = Heads.from_linear("softmax", *((rows, torch.zeros(len(rows))) for rows in weight.split([7, 24])))
        heads.to(place).requires_grad_(True)
        trained = [*last_conv_blocks(extractor.backbone, 2).requires_grad_(True).parameters(), *heads.parameters()]
        trained += extractor.layers.requires_grad_(True).parameters() if depth else []
        finetune._loss(extractor, heads, sample, dropout=0.0).backward()
        gradients.append([weight.grad.cpu() for weight in trained])
    for there, here in zip(gradients[1], gradients[0], strict=True):
        assert_close_rows(there, here, 1e-3)


def test_fine_tuning_in_half_precision(device, shapes, tmp_path):
    tuned = train(config_on(device, shapes, tmp_path / "run", finetune=TUNED, head="softmax", precision="bf16"))
    assert tuned.backbone.precision == "bf16"
    exact = train(config_on("cpu", shapes, tmp_path / "exact", finetune=TUNED, head="softmax"))
    assert_alike(tuned, exact, 0.1)


def interrupt(monkeypatch, owner: object, name: str, config: TrainConfig) -> None:
    """Begin a training, and interrupt it after the first call of a function."""
    function = getattr(owner, name)

    def call(*arguments) -> None:
        function(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, call)
        with pytest.raises(KeyboardInterrupt):
            train(config)


@pytest.mark.parametrize("moves", [False, True])
def test_an_interrupted_fine_tuning_goes_on(device, moves, shapes, tmp_path, monkeypatch):
    """On the same device, or begun on the CPU and ended on the device."""
    changes, run = {"finetune": replace(TUNED, epochs=2), "head": "softmax"}, (shapes, tmp_path / "run")
    whole = train(config_on(device, shapes, tmp_path / "whole", **changes))
    interrupt(monkeypatch, gradient_descent, "save_checkpoint", config_on("cpu" if moves else device, *run, **changes))
    resumed = train(config_on(device, *run, **changes))
    assert resumed.backbone.device.type == device
    assert_alike(resumed, whole, 0.1)


def test_a_training_begun_on_one_device_ends_on_the_other(device, shapes, tmp_path, monkeypatch):
    for number, (first, second) in enumerate((("cpu", device), (device, "cpu"))):
        output = tmp_path / str(number)
        interrupt(monkeypatch, module, "choose_thresholds", config_on(first, shapes, output))
        detector = train(config_on(second, shapes, output))
        assert detector.backbone.device.type == second
        assert_alike(train(config_on(first, shapes, output)), detector)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Six images of noise for each of two classes, of sizes of their own."""
    place = tmp_path_factory.mktemp("images")
    for name in ("a", "b"):
        (place / name).mkdir()
        for i in range(6):
            image_file(place / name / f"{i}.png", 40 + 3 * i, 60 - 2 * i, i)
    return place


@pytest.mark.parametrize(("view", "blocks"), [("full", 0), ("full", 1), ("crop", 1), ("warp", None)])
def test_a_classifier(device, view, blocks, folders, tmp_path):
    config = TrainClassifierConfig(
        backbone=BackboneConfig("shapenet", "random"),
        pyramid=PyramidConfig((2, 1)),
        fc=FCConfig(1, 16),
        view=view,
        blocks=blocks,
        sizes=(32, 40),
        fit=FitConfig(epochs=2, batch_size=5, learning_rate=1e-3),
        dropout=0.0,
        data=FoldersConfig(str(folders)),
    )
    probabilities = []
    for name, place in _places(device):
        classifier = train_classifier(replace(config, output=str(tmp_path / name), device=place))
        loaded = Classifier.load(tmp_path / name, place)
        assert loaded.backbone.device.type == place
        image = random_image(80, 90)
        for views in (None, "10views"):
            assert_close_rows(loaded.score_views(image, views), classifier.score_views(image, views))
        other = Classifier.load(tmp_path / name, "cpu" if place == device else device)
        assert_close_rows(other.score_views(image, "96views").cpu(), loaded.score_views(image, "96views").cpu(), 1e-2)
        probabilities.append(loaded.score_views(image).cpu())
    assert_close_rows(probabilities[1], probabilities[0], 0.1)
