"""Stage times of several detectors on the same images and proposals, and their growth with the number of regions."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from sppdet.config.data import ProposalConfig
from sppdet.detector import Detector
from sppdet.errors import InputError
from sppdet.proposals.cache import propose_image
from sppdet.runtime.progress import progress
from sppdet.runtime.stopwatch import STAGES, Stopwatch, stage
from sppdet.structures import Annotations, Detections

T = TypeVar("T")

SUMS = ("without_proposals", "total")
FEW_REGIONS = 64  # for an estimate
MAX_REPEATED_SECONDS = 5.0  # `measure_growth` repeats shorter measurements only: longer ones have little relative noise


@dataclass(frozen=True, eq=False)
class Timings:
    """The times and detections that `time_detectors` measured, by the detectors' names.

    Args:
        seconds: seconds of each image, by name, then by stage (STAGES) or sum (SUMS).
        detections: detections in each image.
        topped_up: random boxes added in all images together, because selective search gave fewer than `regions`.
        shared: fraction of the regions that fall on the same cells as another and are pooled with it; SPPnet only.
        interrupted: Ctrl-C ended the measurement after some images.
    """

    seconds: Mapping[str, Mapping[str, Sequence[float]]]
    detections: Mapping[str, Sequence[Detections]]
    topped_up: int
    shared: Mapping[str, float]
    interrupted: bool = False

    @property
    def images(self) -> int:
        """The number of images that every detector was timed on."""
        return min(map(len, self.detections.values()))

    @cached_property
    def medians(self) -> dict[str, dict[str, float]]:
        """Median over the images, by name, then by stage or sum."""
        return {name: {row: float(np.median(s)) for row, s in rows.items()} for name, rows in self.seconds.items()}

    @cached_property
    def spread(self) -> dict[str, dict[str, list[float]]]:
        """Quartiles [25%, 75%] over the images, by name, then by stage or sum."""
        each = self.seconds.items()
        return {name: {row: np.quantile(s, [0.25, 0.75]).tolist() for row, s in rows.items()} for name, rows in each}


class TimedProposals(NamedTuple):
    """Boxes float32 (N, 4) of an image, best first, the last `added` of them random; seconds of the search."""

    boxes: Tensor
    seconds: float
    added: int


def take_turns(contestants: Iterable[T], rounds: int, warmup: int = 1) -> list[tuple[int, list[T]]]:
    """Return the number of each round and the contestants in the order to run in it.

    Each contestant goes first in its turn, so that changes in the machine's speed affect all alike. The first `warmup`
    rounds have negative numbers and should not be counted: they compile kernels and fill caches.
    """
    given = list(contestants)
    starts = [(turn, max(turn, 0) % len(given)) for turn in range(-warmup, rounds)]
    return [(turn, given[start:] + given[:start]) for turn, start in starts]


def time_detectors(
    detectors: Mapping[str, Detector], images: Sequence[Annotations], config: ProposalConfig, regions: int = 2000
) -> Timings:
    """Time every detector on exactly the same `regions` boxes of each image.

    Proposals are searched once per image, and their time counts for every detector. The detectors take turns image by
    image, after an unmeasured round. Reading files is not timed. Ctrl-C ends it with what has been measured, if
    that is an image or more. Raises InputError without images or regions.
    """
    if not images or not detectors:
        raise InputError("nothing to compare", field="images", expected="1 or more images and detectors")
    seconds: dict[str, dict[str, list[float]]] = {name: {row: [] for row in (*STAGES, *SUMS)} for name in detectors}
    detections: dict[str, list[Detections]] = {name: [] for name in detectors}
    added: list[int] = []
    asked, windows = Counter[str](), Counter[str]()
    interrupted = False
    try:
        for turn, order in progress(take_turns(detectors, len(images)), "compare", unit="round"):
            i = max(turn, 0)
            image = images[i].read()
            proposals = propose_exactly(image, regions, config, seed=i)
            for name in order:
                with Stopwatch() as clock:
                    result = detectors[name].detect(image, proposals.boxes)
                if turn >= 0:
                    asked[name] += clock.regions
                    windows[name] += clock.windows
                    rows: dict[str, float] = {row: clock.seconds.get(row, 0.0) for row in STAGES}
                    without = sum(value for row, value in rows.items() if row != "proposals")
                    rows |= {"without_proposals": without, "total": without + proposals.seconds}
                    for row, value in (rows | {"proposals": proposals.seconds}).items():
                        seconds[name][row].append(value)
                    detections[name].append(result)
            if turn >= 0:
                added.append(proposals.added)
    except KeyboardInterrupt:
        interrupted = True
        if not added:
            raise
    count = len(added)  # images that all were timed on
    shared = {name: 1 - windows[name] / number for name, number in asked.items() if number}
    whole = {name: {row: values[:count] for row, values in rows.items()} for name, rows in seconds.items()}
    found = {name: each[:count] for name, each in detections.items()}
    return Timings(whole, found, sum(added), shared, interrupted)


def estimate_seconds(
    detectors: Mapping[str, Detector], image: Tensor, config: ProposalConfig, regions: int, images: int
) -> float:
    """Estimate how long `time_detectors` will take on so many images, from the first one with few boxes.

    Without the search for proposals, R-CNN's time grows with the boxes; that of the others hardly does.
    """
    few = min(regions, FEW_REGIONS)
    begun = time.perf_counter()
    boxes = propose_exactly(image, few, config).boxes
    total = time.perf_counter() - begun
    for detector in detectors.values():
        detector.detect(image, boxes)  # warm-up
        begun = time.perf_counter()
        detector.detect(image, boxes)
        total += (time.perf_counter() - begun) * (regions / few if detector.extractor.per_region else 1)
    return total * (images + 1)


def measure_growth(
    detectors: Mapping[str, Detector], image: Tensor, boxes: Tensor, counts: Sequence[int], repeats: int = 3
) -> dict[str, dict[int, float]]:
    """Measure seconds without proposals on the first `count` boxes of one image, for each of `counts`.

    Returns them by name, then by count: the median of `repeats` measurements in turns, or the first measurement if it
    takes longer than MAX_REPEATED_SECONDS. Raises InputError for counts below 1 or above the number of boxes.
    """
    if not counts or min(counts) < 1 or max(counts) > len(boxes):
        raise InputError("cannot be measured", field="regions", expected=f"1..{len(boxes)}", got=tuple(counts))
    for detector in detectors.values():
        detector.detect(image, boxes[: min(counts)])  # warm-up
    growth: dict[str, dict[int, float]] = {name: {} for name in detectors}
    for count in progress(sorted(set(counts)), "growth", unit="size"):
        taken: dict[str, list[float]] = defaultdict(list)
        for _, order in take_turns(detectors, repeats, warmup=0):
            for name in order:
                if not taken[name] or taken[name][0] <= MAX_REPEATED_SECONDS:
                    with Stopwatch() as clock:
                        detectors[name].detect(image, boxes[:count])
                    taken[name].append(sum(clock.seconds.values()))
        for name, values in taken.items():
            growth[name][count] = float(np.median(values))
    return growth


def propose_exactly(image: Tensor, count: int, config: ProposalConfig, seed: int = 0) -> TimedProposals:
    """Return exactly `count` regions of image uint8 (3, H, W): proposals of selective search, then random boxes.

    The random boxes fill up if there are too few proposals, so that every image weighs the same in a comparison.
    Raises InputError for a count below 1.
    """
    if count < 1:
        raise InputError("too few regions", field="regions", expected="1 or more", got=count)
    with Stopwatch() as clock, stage("proposals"):
        proposals = propose_image(image, replace(config, limit=count))
    added = count - len(proposals)
    extra = random_boxes((image.shape[1], image.shape[2]), added, seed)
    return TimedProposals(torch.cat([proposals, extra]), clock.seconds["proposals"], added)


def random_boxes(size: tuple[int, int], count: int, seed: int = 0) -> Tensor:
    """Return `count` boxes float32 (N, 4) in an image of `size` (H, W), with sides from 10% to 100% of the image's."""
    rng = np.random.default_rng(seed)
    limit = np.array([size[1], size[0]])
    sides = rng.uniform(0.1, 1, (count, 2)) * limit
    corners = rng.uniform(0, 1, (count, 2)) * (limit - sides)
    return torch.from_numpy(np.concatenate([corners, corners + sides], axis=1).astype(np.float32))
