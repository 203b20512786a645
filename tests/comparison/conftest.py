"""Tiny detectors and images for the tests of the comparison."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sppdet.config.data import ProposalConfig
from sppdet.config.detector import CropConfig, DetectorConfig, SPPConfig
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.structures import Annotations, Dataset

CLASSES = ("disc", "square", "star")


@pytest.fixture
def detector() -> Detector:
    """An SPPnet detector of three classes with random weights."""
    config = DetectorConfig(
        proposals=ProposalConfig(width=None, min_side=5),  # width 500 would enlarge these images
        backbone=BackboneConfig("shapenet", "random"),
        pyramid=PyramidConfig((3, 1)),
        spp=SPPConfig((64,)),
        crop=CropConfig(size=32, context=4, batch_size=5),
    )
    generator = torch.Generator().manual_seed(0)
    detector, K = Detector(config, CLASSES), len(CLASSES)
    weight = torch.randn(5 * K, detector.heads.dimension, generator=generator)
    detector.heads.weight.data = weight * torch.tensor([1e-3] * K + [1e-5] * 4 * K)[:, None]
    return detector


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
