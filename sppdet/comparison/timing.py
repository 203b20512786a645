"""Seconds of each stage of several detectors on the same images and regions, and how they grow with the regions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sppdet.config.data import ProposalConfig
from sppdet.detector import Detector
from sppdet.errors import InputError
from sppdet.images import read_image
from sppdet.proposals.cache import propose_image
from sppdet.runtime.stopwatch import STAGES, Stopwatch, stage
from sppdet.structures import Annotations, Detections

SUMS = ("without_proposals", "total")
LONG = 5.0  # seconds; `measure_growth` does not repeat what takes longer, whose relative noise is small


@dataclass(frozen=True, eq=False)
class Timings:
    """What `time_detectors` measured.

    seconds: for each detector's name and each of STAGES and SUMS, the seconds of each image. detections: by name, those
    of each image. topped_up: random boxes added, all images together, where selective search found fewer than
    `regions`. shared: by name, the share of the regions whose cells are another's too, and were pooled with it; only
    where maps are pooled.
    """

    seconds: Mapping[str, Mapping[str, Sequence[float]]]
    detections: Mapping[str, Sequence[Detections]]
    regions: int
    topped_up: int
    shared: Mapping[str, float]

    def medians(self) -> dict[str, dict[str, float]]:
        """Median over the images, by name, then stage or sum."""
        return {
            name: {row: float(np.median(values)) for row, values in rows.items()} for name, rows in self.seconds.items()
        }

    def spread(self) -> dict[str, dict[str, list[float]]]:
        """The quartiles [25%, 75%] over the images, by name, then stage or sum."""
        return {
            name: {row: np.quantile(values, [0.25, 0.75]).tolist() for row, values in rows.items()}
            for name, rows in self.seconds.items()
        }


@dataclass(frozen=True, eq=False)
class Regions:
    """Exactly as many boxes float32 (N, 4) of an image as were asked for, best first.

    seconds: the search took. added: random boxes among them, at the end.
    """

    boxes: Tensor
    seconds: float
    added: int


def time_detectors(
    detectors: Mapping[str, Detector],
    images: Sequence[Annotations],
    config: ProposalConfig,
    regions: int = 2000,
    warmup: int = 1,
    seed: int = 0,
) -> Timings:
    """Time every detector on exactly the same `regions` boxes of each image.

    Proposals are searched once an image, and their time counts for every detector. The detectors take turns image by
    image, each first in its turn, so that a drift of the machine's speed meets them all. Before, the first image is
    processed `warmup` times unmeasured, which compiles kernels and fills caches. Files are read outside the
    measurement. Raises InputError without images or regions.
    """
    from tqdm import tqdm

    if not images or not detectors:
        raise InputError("nothing to compare", field="images", expected="1 or more images and detectors")
    names = list(detectors)
    seconds: dict[str, dict[str, list[float]]] = {name: {row: [] for row in (*STAGES, *SUMS)} for name in names}
    detections: dict[str, list[Detections]] = {name: [] for name in names}
    topped_up = 0
    counts = {name: [0, 0] for name in names}
    for turn in tqdm(range(-warmup, len(images)), desc="compare", unit="image"):
        i = max(turn, 0)
        image = read_image(images[i].path)
        found = find_regions(image, regions, config, seed + i)
        for name in names[i % len(names) :] + names[: i % len(names)]:
            clock, result = _time_image(detectors[name], image, found.boxes)
            if turn >= 0:
                detections[name].append(result)
                counts[name] = [counts[name][0] + clock.regions, counts[name][1] + clock.windows]
                for row, value in _add_up(clock, found.seconds).items():
                    seconds[name][row].append(value)
        topped_up += found.added if turn >= 0 else 0
    shared = {name: 1 - windows / asked for name, (asked, windows) in counts.items() if asked}
    return Timings(seconds, detections, regions, topped_up, shared)


def measure_growth(
    detectors: Mapping[str, Detector], image: Tensor, boxes: Tensor, counts: Sequence[int], repeats: int = 3
) -> dict[str, dict[int, float]]:
    """Seconds without proposals, by name, then number of regions: the first so many of `boxes`, in one image.

    Each is the median of `repeats` measurements in turns, or the first where it takes more than LONG seconds.
    Raises InputError where there are fewer boxes than the largest count.
    """
    if not counts or min(counts) < 1 or max(counts) > len(boxes):
        raise InputError("cannot be measured", field="regions", expected=f"1..{len(boxes)}", got=tuple(counts))
    for detector in detectors.values():
        detector.detect(image, boxes[: min(counts)])  # warm-up
    growth: dict[str, dict[int, float]] = {name: {} for name in detectors}
    for count in sorted(set(counts)):
        taken: dict[str, list[float]] = defaultdict(list)
        for _ in range(repeats):
            for name, detector in detectors.items():
                if not taken[name] or taken[name][0] <= LONG:
                    clock, _found = _time_image(detector, image, boxes[:count])
                    taken[name].append(sum(clock.seconds.values()))
        for name, values in taken.items():
            growth[name][count] = float(np.median(values))
    return growth


def find_regions(image: Tensor, count: int, config: ProposalConfig, seed: int = 0) -> Regions:
    """`count` regions of image uint8 (3, H, W): selective search's, and random boxes where they are too few, so that
    every image weighs the same in a comparison. Raises InputError where count is not positive."""
    if count < 1:
        raise InputError("too few regions", field="regions", expected="1 or more", got=count)
    with Stopwatch() as clock, stage("proposals"):
        found = propose_image(image, replace(config, limit=count))
    added = count - len(found)
    extra = random_boxes((image.shape[1], image.shape[2]), added, seed)
    return Regions(torch.cat([found, extra]), clock.seconds["proposals"], added)


def random_boxes(size: tuple[int, int], count: int, seed: int = 0) -> Tensor:
    """`count` boxes float32 (N, 4) inside an image of `size` (H, W), sides from a tenth of its sides to all of them."""
    rng = np.random.default_rng(seed)
    limit = np.array([size[1], size[0]])
    sides = rng.uniform(0.1, 1, (count, 2)) * limit
    corners = rng.uniform(0, 1, (count, 2)) * (limit - sides)
    return torch.from_numpy(np.concatenate([corners, corners + sides], axis=1).astype(np.float32))


def _time_image(detector: Detector, image: Tensor, boxes: Tensor) -> tuple[Stopwatch, Detections]:
    with Stopwatch() as clock:
        return clock, detector.detect(image, boxes)


def _add_up(clock: Stopwatch, proposals: float) -> dict[str, float]:
    """Seconds of each stage and sum, the shared time of the proposals among them."""
    rows = {stage: clock.seconds.get(stage, 0.0) for stage in STAGES} | {"proposals": proposals}
    without = sum(seconds for stage, seconds in rows.items() if stage != "proposals")
    return rows | {"without_proposals": without, "total": without + proposals}
