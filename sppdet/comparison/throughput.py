"""R-CNN mode at its best: the fastest batch size, and convolutions at the pace of the bare network."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch

from sppdet.comparison.timing import random_boxes, take_turns
from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.features.crop import CropExtractor, warp_crops
from sppdet.images import to_array
from sppdet.runtime.progress import progress
from sppdet.runtime.stopwatch import Stopwatch, stage

BATCH_SIZES = {"cpu": (1, 2, 4, 8, 16, 32, 64), "cuda": (8, 16, 32, 64, 128, 256)}
ROUNDS = 5  # of the throughput
MIN_TIMED_CROPS = 32  # per measurement


@dataclass(frozen=True)
class Throughput:
    """Crops per second through the convolutions of R-CNN mode, without warping, and of the bare network.

    Both are measured on the same batches, of the size that is fastest for the bare network.
    """

    detector: str
    crops_per_second: float
    bare_crops_per_second: float
    bare_best_batch: int

    @property
    def ratio(self) -> float:
        """Throughput of R-CNN mode as a fraction of the bare network's."""
        return self.crops_per_second / self.bare_crops_per_second

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def find_best_batch(detector: Detector, batch_sizes: Sequence[int] | None = None, rounds: int = 2) -> int:
    """Return the batch size at which the bare network processes most random crops per second.

    The batch sizes take turns; the best round of each counts. Memory use is that of the largest batch that fits.
    """
    extractor = _conv_extractor(detector)
    device, side = extractor.backbone.device, extractor.config.size
    batch_sizes = batch_sizes or BATCH_SIZES[device.type]
    pixels = torch.rand(max(batch_sizes), 3, side, side, generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(device, memory_format=torch.channels_last)
    seconds_per_crop: dict[int, list[float]] = defaultdict(list)
    with torch.inference_mode():
        for turn, order in take_turns(batch_sizes, rounds):
            for batch in order:
                passes = -(-MIN_TIMED_CROPS // batch) if turn >= 0 else 1
                try:
                    with Stopwatch() as clock, stage("conv"):
                        for _ in range(passes):
                            extractor.backbone(pixels[:batch])
                except torch.cuda.OutOfMemoryError:
                    continue
                if turn >= 0:
                    seconds_per_crop[batch].append(clock.seconds["conv"] / (passes * batch))
    return min(batch_sizes, key=lambda batch: min(seconds_per_crop[batch], default=math.inf))


def with_best_batch(detector: Detector) -> Detector:
    """Return a detector in R-CNN mode with its fastest crop batch size, any other detector unchanged."""
    if not detector.extractor.per_region:
        return detector
    crop = replace(detector.config.crop, batch_size=find_best_batch(detector))
    return detector.with_config(replace(detector.config, crop=crop))


def measure_throughput(name: str, detector: Detector, rounds: int = ROUNDS) -> Throughput:
    """Measure crops per second through the detector's convolutions and its bare network, at the detector's batch size.

    Both process the same crops of one random image, in turns; the median over all batches counts.
    """
    extractor = _conv_extractor(detector)
    batch = extractor.config.batch_size
    image = torch.randint(0, 256, (3, 375, 500), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes = random_boxes((375, 500), batch * -(-MIN_TIMED_CROPS // batch)).split(batch)
    crops = [warp_crops(to_array(image), chunk, extractor.config, extractor.backbone) for chunk in boxes]
    seconds: dict[str, list[float]] = {"detector": [], "bare": []}
    for turn, order in progress(take_turns(seconds, rounds), "throughput", unit="round"):
        for chunk, pixels in zip(boxes, crops, strict=True):
            for contestant in order:
                with Stopwatch() as clock:
                    if contestant == "detector":
                        extractor.encode(image).features(chunk)
                    else:
                        with torch.inference_mode(), stage("conv"):
                            extractor.backbone(pixels)
                if turn >= 0:
                    seconds[contestant].append(clock.seconds["conv"])
    return Throughput(name, batch / median(seconds["detector"]), batch / median(seconds["bare"]), batch)


def _conv_extractor(detector: Detector) -> CropExtractor:
    """Return the detector's crop extractor without fully connected layers, so that convolutions alone are timed."""
    extractor = detector.extractor
    if not isinstance(extractor, CropExtractor):
        raise ConfigError("has no crops", field="features", expected="crop", got=detector.config.features)
    return CropExtractor(extractor.backbone, extractor.pooling, extractor.config)
