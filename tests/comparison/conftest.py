"""Tiny detectors, images and made-up times for the tests of the comparison."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import CLASSES, TINY, as_boxes, image_file, random_detector

from sppdet.comparison.report import Comparison
from sppdet.comparison.throughput import Throughput
from sppdet.comparison.timing import Timings
from sppdet.config.data import ProposalConfig
from sppdet.config.detector import CropConfig
from sppdet.detector import Detector
from sppdet.evaluation.bootstrap import BootstrapMAP
from sppdet.structures import Annotations, Dataset


@pytest.fixture
def detector() -> Detector:
    """An SPPnet detector of three classes with random weights."""
    crop, proposals = CropConfig(size=32, context=4, batch_size=5), ProposalConfig(width=None, min_side=5)
    return random_detector(replace(TINY, crop=crop, proposals=proposals))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Three small images of noise, one object each."""
    box = as_boxes([10, 10, 40, 40])
    files = [image_file(tmp_path / f"{i}.png", 60, 80 + i, i) for i in range(3)]
    return Dataset("noise", CLASSES, [Annotations(file, box, torch.tensor([1 + i])) for i, file in enumerate(files)])


@pytest.fixture
def comparison() -> Comparison:
    """Made-up times of two detectors."""
    rcnn = {"proposals": 2.0, "preprocess": 1.5, "conv": 44.0, "pooling": 1.25, "heads": 0.35, "nms": 0.0421}
    spp = {"proposals": 2.0, "preprocess": 0.0075, "conv": 0.2, "pooling": 0.61, "heads": 0.35, "nms": 0.0419}
    totals = {"rcnn": {"without_proposals": 47.5, "total": 50.0}, "spp": {"without_proposals": 1.25, "total": 3.25}}
    rows = {"rcnn": rcnn | totals["rcnn"], "spp": spp | totals["spp"]}
    seconds = {name: {row: [0.8 * v, v, 1.2 * v] for row, v in values.items()} for name, values in rows.items()}
    shifts = np.array([-0.01, 0.0, 0.01])
    maps = {"rcnn": 0.3217, "spp": 0.3456}
    return Comparison(
        images=5,
        regions=2000,
        timings=Timings(seconds, {}, topped_up=321, shared={"spp": 0.183}),
        machine={"device": "cpu", "machine": "Some CPU", "threads": 2, "torch": "2.x"},
        baseline="rcnn",
        detectors={"rcnn": {"features": "crop", "batch": 4}, "spp": {"features": "spp", "scales": [688]}},
        growth={"rcnn": {100: 2.25, 2000: 47.4}, "spp": {100: 0.31, 2000: 1.24}},
        throughput=Throughput("rcnn", 45.4, 46.1, 4),
        maps={k: BootstrapMAP(v, v - 0.02, v + shifts, v - 0.02 + shifts, ("1", "2"), 0) for k, v in maps.items()},
    )
