"""A whole image to detections: SPPnet next to R-CNN mode, with the same network, heads and regions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, repeat
from math import prod
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
    Run,
    Timing,
    add_timings,
    measure_growth,
    measure_part,
    take_staged_turns,
)
from benchmark.scenes import Scene, clock_stages, find_scenes, random_detector, time_stages
from benchmark.threads import thread_counts, thread_label
from sppdet.comparison import timing
from sppdet.comparison.throughput import measure_throughput, with_best_batch
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.heads import CLASS_OUTPUTS
from sppdet.detector import Detector
from sppdet.images import shorter_side_size
from sppdet.proposals.cache import propose_image
from sppdet.runtime.stopwatch import stage

BACKBONE = "squeezenet1_0"
WARM_UP_CROPS = 32
PASSES = 5  # per round, of the stages that take well under a second; their median counts

RATIOS: Ratios = {
    "ratio_vs_rcnn_conv": ("R-CNN conv", "sppdet conv"),
    "ratio_vs_rcnn_without_proposals": ("R-CNN without proposals", "sppdet without proposals"),
    "ratio_vs_rcnn_total": ("R-CNN total", "sppdet total"),
    **bound.RATIOS,
}


def benchmark_detect(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Time both modes on `config.regions` regions of one image per round: R-CNN mode once, at its best batch size on
    this machine, SPPnet and selective search PASSES times.

    Only the largest number of threads has more than one round. R-CNN mode warms up on few crops. The images are the
    first of the data, or scikit-learn's photographs; network and heads are random. Raises ConfigError and DataError for
    data that cannot be read.
    """
    scenes = find_scenes(data, config)
    spp = random_detector(scenes[0], BACKBONE, device=config.device)
    most = thread_counts(config.threads)[-1]
    throughputs: dict[int, dict[str, Any]] = {}
    crop, stages = spp, bound.Stages()

    def measure(threads: int) -> dict[str, Timing]:
        nonlocal crop, stages
        crop = with_best_batch(spp.with_features("crop"))
        rounds = config.detect_rounds if threads == most else 1
        timings = time_modes(spp, crop, scenes, rounds, f"detect, {threads} threads")
        if threads == most:
            bounds, stages = bound.time_bounds(scenes[0], rounds, config.device)
            timings |= bounds
        throughputs[threads] = measure_throughput("R-CNN", crop).as_dict()
        del throughputs[threads]["detector"]
        return timings

    def conclude() -> tuple[list[Growth], dict[str, Any]]:
        crops = {thread_label(threads): pace for threads, pace in throughputs.items()}
        growth = [grow_regions(spp, crop, scenes[0], config), grow_scales(spp, scenes[0], config)]
        return growth, describe_scenes(spp, scenes) | {"crops": crops, f"seconds_{bound.BACKBONE}": stages}

    part = measure_part(config.threads, RATIOS, measure, conclude)
    for row in part.rows:
        row.ratios["rcnn_crops_vs_bare"] = throughputs[row.threads]["ratio"]
    return part


def time_modes(spp: Detector, crop: Detector, scenes: Sequence[Scene], rounds: int, label: str) -> dict[str, Timing]:
    """Time the stages of each mode and their sums, and selective search, which both modes need."""
    counts = chain([WARM_UP_CROPS], repeat(None))  # boxes of R-CNN mode: few in the warm-up call

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
    """Return the median seconds of selective search."""

    def search() -> None:
        with stage("proposals"):
            propose_image(image, ProposalConfig())

    return clock_stages(search, ["proposals"], PASSES)


def grow_regions(spp: Detector, crop: Detector, scene: Scene, config: BenchmarkConfig) -> Growth:
    """Time both modes without proposals by the number of regions, which is capped at those of the scene."""
    counts = sorted({min(count, len(scene.boxes)) for count in config.growth})
    found = timing.measure_growth({"sppdet": spp, "R-CNN": crop}, scene.image, scene.boxes, counts)
    return Growth("regions", tuple(counts), {name: tuple(seconds.values()) for name, seconds in found.items()})


def grow_scales(spp: Detector, scene: Scene, config: BenchmarkConfig) -> Growth:
    """Time SPPnet without proposals by the number of pixels of the resized image."""
    sides = {prod(shorter_side_size(scene.image.shape[1], scene.image.shape[2], side)): side for side in config.scales}

    def runs_at(pixels: int) -> dict[str, Run]:
        scaled = spp.with_config(replace(spp.config, spp=replace(spp.config.spp, scales=(sides[pixels],))))
        return {"sppdet": lambda _turn: sum(time_stages(scaled, scene).values())}

    return measure_growth("pixels", sides, runs_at, config.rounds)


def describe_scenes(spp: Detector, scenes: Sequence[Scene]) -> dict[str, Any]:
    """Return means over the images: windows pooled once, boxes scoring above -1.5, and detections."""
    facts = []
    for scene in scenes:
        encoded = spp.encode(scene.image)
        distinct, _ = encoded.image_features.unique_windows(scene.boxes)
        candidates = (encoded.score(scene.boxes) > CLASS_OUTPUTS["svm"].min_score).sum()
        detections = len(encoded.detect(scene.boxes))
        facts.append([scene.added, 1 - len(distinct) / len(scene.boxes), int(candidates), detections])
    names = "random_regions", "windows_saved", "candidates", "detections"
    return {
        "images": len(scenes),
        "regions": len(scenes[0].boxes),
        "scale": spp.config.spp.scales[0],
        "classes": CLASSES,
        "device": str(spp.backbone.device),
        "rcnn_warm_up_crops": WARM_UP_CROPS,
        **dict(zip(names, np.mean(facts, axis=0).tolist(), strict=True)),
    }
