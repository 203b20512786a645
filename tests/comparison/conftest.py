"""Tiny detectors and images for the tests of the comparison."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import CLASSES, TINY, random_detector
from PIL import Image

from sppdet.config.data import ProposalConfig
from sppdet.config.detector import CropConfig
from sppdet.detector import Detector
from sppdet.structures import Annotations, Dataset


@pytest.fixture
def detector() -> Detector:
    """An SPPnet detector of three classes with random weights."""
    crop, proposals = CropConfig(size=32, context=4, batch_size=5), ProposalConfig(width=None, min_side=5)
    return random_detector(replace(TINY, crop=crop, proposals=proposals))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Three small images of noise, one object each."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(3):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (60, 80 + i, 3), dtype=np.uint8)).save(path)
        box = torch.tensor([[10.0, 10.0, 40.0, 40.0]])
        images.append(Annotations(path, box, torch.tensor([1 + i])))
    return Dataset("noise", CLASSES, tuple(images))
