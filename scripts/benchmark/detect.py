"""A whole image to detections: SPPnet beside R-CNN mode with the same network and heads on the same regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
from torch import Tensor

from benchmark import bound
from benchmark.config import BenchmarkConfig
from benchmark.heads import CLASSES
from benchmark.measure import (
    Growth,
    Part,
    Ratios,
    Row,
    Run,
    Timing,
    add_timings,
    find_ratios,
    measure_growth,
    take_staged_turns,
    thread_counts,
    using_threads,
)
from benchmark.scenes import Scene, find_scenes, random_detector, time_stages
from sppdet.comparison import timing
from sppdet.comparison.throughput import measure_throughput, with_best_batch
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.detector import Detector
from sppdet.images import shorter_side_size
from sppdet.postprocess import SVM_SCORE
from sppdet.proposals.cache import propose_image
from sppdet.runtime.stopwatch import Stopwatch, stage

BACKBONE = "squeezenet1_0"
WARM_UP_CROPS = 32
PASSES = 5  # of what takes well under a second, in a round; their median counts

RATIOS: Ratios = {
    "ratio_vs_rcnn_conv": ("R-CNN conv", "sppdet conv"),
    "ratio_vs_rcnn_without_proposals": ("R-CNN without proposals", "sppdet without proposals"),
    "ratio_vs_rcnn_total": ("R-CNN total", "sppdet total"),
    **bound.RATIOS,
}


def benchmark_detect(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Time both modes on `config.regions` regions of an image a round: R-CNN mode once, at the batch that is best here,
    SPPnet and selective search PASSES times.

    With fewer threads than the most there is one round. R-CNN mode warms up on few crops. Images are the first of the
    data, or scikit-learn's photographs; network and heads are random. Raises ConfigError and DataError for data that
    cannot be read.
    """
    scenes = find_scenes(data, config)
    spp = random_detector(scenes[0], BACKBONE)
    every = thread_counts(config.threads)
    rows: list[Row] = []
    throughputs: dict[int, dict[str, Any]] = {}
    for threads in every:
        with using_threads(threads):
            crop = with_best_batch(spp.with_features("crop"))
            rounds = config.detect_rounds if threads == every[-1] else 1
            timings = time_modes(spp, crop, scenes, rounds, f"detect, {threads} threads")
            if threads == every[-1]:
                bounds, stages = bound.time_bounds(scenes[0], rounds)
                timings |= bounds
            throughputs[threads] = {
                k: v for k, v in measure_throughput("R-CNN", crop).as_dict().items() if k != "detector"
            }
        ratios = find_ratios(timings, RATIOS) | {"rcnn_crops_vs_bare": throughputs[threads]["ratio"]}
        rows.append(Row(threads, timings, ratios))
    with using_threads(every[-1]):
        growth = [grow_regions(spp, crop, scenes[0], config), grow_scales(spp, scenes[0], config)]
        facts = describe_scenes(spp, scenes)
    crops = {f"{threads} thread{'s' * (threads > 1)}": pace for threads, pace in throughputs.items()}
    return Part(rows, growth, facts | {"crops": crops, f"seconds_{bound.BACKBONE}": stages})


def time_modes(spp: Detector, crop: Detector, scenes: Sequence[Scene], rounds: int, label: str) -> dict[str, Timing]:
    """Timings of each mode's stages and their sums, and of selective search, which both modes need."""
    counts = chain([WARM_UP_CROPS], repeat(None))  # boxes of R-CNN mode: few in the first call

    def scene(turn: int) -> Scene:
        return scenes[turn % len(scenes)]

    contestants: dict[str, Callable[[int], Mapping[str, float]]] = {
        "sppdet": lambda turn: time_stages(spp, scene(turn), PASSES),
        "R-CNN": lambda turn: time_stages(crop, scene(turn).first(next(counts))),
        "proposals": lambda turn: time_search(scene(turn).image),
    }
    sums, stages = take_staged_turns(contestants, rounds, label)
    timings = {"proposals": sums["proposals"]}
    for mode in ("sppdet", "R-CNN"):
        timings |= {f"{mode} {stage}": taken for stage, taken in stages[mode].items()}
        timings[f"{mode} without proposals"] = sums[mode]
        timings[f"{mode} total"] = add_timings(sums[mode], sums["proposals"])
    return timings


def time_search(image: Tensor) -> dict[str, float]:
    """Median seconds of selective search."""
    clocks = [Stopwatch() for _ in range(PASSES)]
    for clock in clocks:
        with clock, stage("proposals"):
            propose_image(image, ProposalConfig())
    return {"proposals": float(np.median([clock.seconds["proposals"] for clock in clocks]))}


def grow_regions(spp: Detector, crop: Detector, scene: Scene, config: BenchmarkConfig) -> Growth:
    """Seconds without proposals of both modes by regions, as many as there are at most."""
    counts = sorted({min(count, len(scene.boxes)) for count in config.growth})
    found = timing.measure_growth({"sppdet": spp, "R-CNN": crop}, scene.image, scene.boxes, counts)
    return Growth("regions", tuple(counts), {name: tuple(seconds.values()) for name, seconds in found.items()})


def grow_scales(spp: Detector, scene: Scene, config: BenchmarkConfig) -> Growth:
    """Seconds without proposals of SPPnet by the pixels of the resized image."""
    sides = sorted(set(config.scales))
    sizes = [shorter_side_size(scene.image.shape[1], scene.image.shape[2], side) for side in sides]

    def runs_at(i: int) -> dict[str, Run]:
        scaled = spp.with_config(replace(spp.config, spp=replace(spp.config.spp, scales=(sides[i],))))
        return {"sppdet": lambda _turn: sum(time_stages(scaled, scene).values())}

    return measure_growth("pixels", [height * width for height, width in sizes], runs_at, config.rounds)


def describe_scenes(spp: Detector, scenes: Sequence[Scene]) -> dict[str, Any]:
    """Means over the images: what the regions are, what scores above -1.5, and what is detected."""
    saved, candidates, detections = list[float](), list[float](), list[float]()
    for scene in scenes:
        encoded = spp.encode(scene.image)
        distinct, _ = encoded.regions.distinct(scene.boxes)
        saved.append(1 - len(distinct) / len(scene.boxes))
        candidates.append(int((encoded.score(scene.boxes) > SVM_SCORE).sum()))
        detections.append(len(encoded.detect(scene.boxes)))
    means: dict[str, list[float]] = {"windows_saved": saved, "candidates": candidates, "detections": detections}
    return {
        "images": len(scenes),
        "regions": len(scenes[0].boxes),
        "random_regions": float(np.mean([scene.added for scene in scenes])),
        "scale": spp.config.spp.scales[0],
        "classes": CLASSES,
        "rcnn_warm_up_crops": WARM_UP_CROPS,
    } | {name: float(np.mean(values)) for name, values in means.items()}
