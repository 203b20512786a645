"""R-CNN mode carries no handicap: its batch is the fastest, and its convolutions keep the bare network's pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch

from sppdet.comparison.timing import random_boxes
from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.features.crop import CropExtractor
from sppdet.features.extractor import inference
from sppdet.features.warp import warp_crops
from sppdet.images import to_array
from sppdet.runtime.stopwatch import Stopwatch, stage

BATCHES = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (8, 16, 32, 64, 128, 256)}
CROPS = 32  # at least so many crops in one measurement


@dataclass(frozen=True)
class Throughput:
    """Crops a second of R-CNN mode's convolutions, warping apart, beside the bare network's on the same batches."""

    detector: str
    crops_per_second: float
    bare_crops_per_second: float
    bare_best_batch: int

    @property
    def ratio(self) -> float:
        """R-CNN mode's pace in that of the bare network."""
        return self.crops_per_second / self.bare_crops_per_second

    def as_dict(self) -> dict[str, Any]:
        """The numbers under the names of the JSON output."""
        return asdict(self) | {"ratio": self.ratio}


def find_best_batch(detector: Detector, batches: Sequence[int] | None = None, rounds: int = 2) -> int:
    """The batch at which the bare network passes most crops a second, on random crops.

    The batches take turns, and each counts with its best round. Memory: that of the largest batch.
    """
    source = _crop_features(detector)
    device, side = source.backbone.device, source.config.size
    batches = batches or BATCHES[device.type]
    pixels = torch.rand(max(batches), 3, side, side, generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(device, memory_format=torch.channels_last)
    best: dict[int, float] = {}
    with inference(source.backbone, source.precision):
        for turn in range(-1, rounds):  # the first turn warms up
            for batch in batches:
                passes = -(-CROPS // batch) if turn >= 0 else 1
                with Stopwatch() as clock, stage("conv"):
                    for _ in range(passes):
                        source.backbone(pixels[:batch])
                if turn >= 0:
                    seconds = clock.seconds["conv"] / (passes * batch)
                    best[batch] = min(best.get(batch, seconds), seconds)
    return min(best, key=best.__getitem__)


def with_best_batch(detector: Detector) -> Detector:
    """The same detector; in R-CNN mode with its crops in batches of the size that is the fastest here."""
    if detector.config.features != "crop":
        return detector
    crop = replace(detector.config.crop, batch_size=find_best_batch(detector))
    return detector.with_config(replace(detector.config, crop=crop))


def measure_throughput(name: str, detector: Detector, rounds: int = 5) -> Throughput:
    """Crops a second of `detector`'s convolutions and of its bare network, in the detector's batches.

    Both pass the same crops of one random image; they take turns batch by batch, and each counts with its median.
    """
    source = _crop_features(detector)
    batch = source.config.batch_size
    count = batch * -(-CROPS // batch)
    image = torch.randint(0, 256, (3, 375, 500), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = random_boxes((375, 500), count)
    crops = [warp_crops(to_array(image), part, source.config, source.backbone) for part in boxes.split(batch)]
    ours: list[float] = []
    bare: list[float] = []
    for turn in range(-1, rounds):  # the first turn warms up
        for part, pixels in zip(boxes.split(batch), crops, strict=True):
            with Stopwatch() as our_clock:
                source.encode(image).features(part)
            with inference(source.backbone, source.precision), Stopwatch() as bare_clock, stage("conv"):
                source.backbone(pixels)
            if turn >= 0:
                ours.append(our_clock.seconds["conv"])
                bare.append(bare_clock.seconds["conv"])
    return Throughput(name, batch / median(ours), batch / median(bare), batch)


def _crop_features(detector: Detector) -> CropExtractor:
    """The detector's features without fully connected layers: convolutions are what is measured here."""
    if not isinstance(detector.regions, CropExtractor):
        raise ConfigError("has no crops", field="features", expected="crop", got=detector.config.features)
    found = detector.regions
    return CropExtractor(found.backbone, found.pyramid, found.config, found.precision)
