"""Images with their regions, detectors with random weights, and the seconds of each stage of detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.heads import CLASSES, random_heads
from benchmark.proposals import read_images
from sppdet.comparison.timing import propose_exactly
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import BackboneConfig, Device, FCConfig
from sppdet.detector import Detector
from sppdet.features.build import build_network
from sppdet.runtime.stopwatch import STAGES, Stage, Stopwatch


@dataclass(frozen=True, eq=False)
class Scene:
    """An image uint8 (3, H, W) and its regions float32 (N, 4); added: number of random ones among them."""

    image: Tensor
    boxes: Tensor
    added: int

    def first(self, regions: int | None) -> Scene:
        """Return the scene with its first `regions` regions; all for None."""
        return replace(self, boxes=self.boxes[:regions])


def find_scenes(data: DataConfig, config: BenchmarkConfig) -> list[Scene]:
    """Read the first images of the data, or scikit-learn's photographs, at most one per round of detection, and find
    exactly `config.regions` regions in each."""
    images = read_images(data, config.detect_rounds)
    found = [propose_exactly(image, config.regions, ProposalConfig()) for image in images]
    return [Scene(image, regions.boxes, regions.added) for image, regions in zip(images, found, strict=True)]


def random_detector(scene: Scene, backbone: str, depth: int = 0, device: Device = "cpu") -> Detector:
    """Return a detector in SPPnet mode with `depth` fully connected layers and random heads, whose scores of the
    scene's regions are distributed as those of a trained detector."""
    config = DetectorConfig(backbone=BackboneConfig(backbone, "random"), fc=FCConfig(depth))
    extractor = build_network(config, device)
    features = extractor.encode(scene.image).features(scene.boxes)
    classes = [f"class {label}" for label in range(1, CLASSES + 1)]
    return Detector(config, classes, extractor, random_heads(features.cpu()))


def time_stages(detector: Detector, scene: Scene, passes: int = 1) -> dict[str, float]:
    """Return the median seconds of each stage except the proposals."""
    stages = [stage for stage in STAGES if stage != "proposals"]
    return clock_stages(lambda: detector.detect(scene.image, scene.boxes), stages, passes)


def clock_stages(work: Callable[[], object], stages: Sequence[Stage], passes: int) -> dict[str, float]:
    """Return the median seconds of these stages of `work`."""
    clocks = [Stopwatch() for _ in range(passes)]
    for clock in clocks:
        with clock:
            work()
    return {stage: float(np.median([clock.seconds[stage] for clock in clocks])) for stage in stages}
