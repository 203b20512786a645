"""A small folder of images that are told apart by their color, and a classifier that is trained in a second."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig, FitConfig, FoldersConfig, TrainClassifierConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig

COLOURS = {"blue": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}


@pytest.fixture
def colors(tmp_path) -> Path:
    """Six images of each color, of sizes and aspects of their own, with some noise."""
    rng = np.random.default_rng(0)
    for name, color in COLOURS.items():
        folder = tmp_path / "colors" / name
        folder.mkdir(parents=True)
        for i in range(6):
            noise = rng.integers(-20, 20, (*rng.integers(30, 70, 2), 3))
            Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "colors"


@pytest.fixture
def config(colors, tmp_path) -> TrainClassifierConfig:
    return TrainClassifierConfig(
        backbone=BackboneConfig("shapenet", "random"),
        pyramid=PyramidConfig((2, 1)),
        view="warp",
        sizes=(32, 40),
        fit=FitConfig(epochs=4, batch_size=5),
        data=FoldersConfig(str(colors)),
        output=str(tmp_path / "run"),
    )


@pytest.fixture
def classifier() -> Classifier:
    """One with a fully connected layer and random weights."""
    torch.manual_seed(0)
    parts = ClassifierConfig(BackboneConfig("shapenet", "random"), PyramidConfig((3, 1)), FCConfig(1, 16), sizes=(32,))
    return new_classifier(parts, ("a", "b", "c"))
