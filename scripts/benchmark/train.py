"""Training SVMs with empty caches: seconds and memory of each stage, and their growth with the number of images."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import time
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.measure import Growth, Part, Ratios, Timing, clocked, fit_line, measure_part
from benchmark.memory import watch_memory
from benchmark.threads import thread_counts
from sppdet.backbones.zoo import build_backbone
from sppdet.config.data import DataConfig
from sppdet.config.network import BackboneConfig, Device
from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.files.atomic import load_tensors
from sppdet.files.run_folder import RunFolder
from sppdet.images import resize_shorter_side
from sppdet.shapes.dataset import generate_shapes
from sppdet.structures import Annotations
from sppdet.training.train import train

BACKBONE = "squeezenet1_0"
SCALE = 688
WARM_UP = 5  # images, the smallest number of which one is held out
BARE_PASSES = 8  # of the bare network, one image each

RUN = RunFolder("run")  # in the folder of a training, next to the cache

# The files whose last one ends a stage.
STAGES = {
    "proposals": "cache/proposals/*/*",
    "features": "cache/features/*/*",
    "mining": str(RUN.mined),
    "box regression": str(RUN.heads("train")),
    "held-out images": str(RUN.val),
    "refit on all": str(RUN.detector),
}

RATIOS: Ratios = {"ratio_fill_vs_bare_network": ("bare network", "sppdet features")}


@dataclass(frozen=True)
class Training:
    """Seconds and peak anonymous memory (MB) by stage; examples: MB of the examples mined in the end."""

    images: int
    seconds: Mapping[str, float]
    peaks: Mapping[str, float]
    examples: float

    def images_per_second(self) -> dict[str, float]:
        return {stage: self.images / seconds for stage, seconds in self.seconds.items()}

    def memory(self) -> dict[str, float]:
        """Return peaks in MB, including that of mining without the examples, whose size is bounded."""
        examples = {"examples": self.examples, "mining beyond examples": self.peaks["mining"] - self.examples}
        return {**self.peaks, **examples}


def benchmark_train(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Train detectors on the first `config.train_images` of the data, each with empty caches and a folder of its own.

    Without `data.root` the images are generated shapes. A first training on few images compiles the kernels; its
    seconds are those of the warm-up call. The weights of the network are random. Every fifth image is held out, as
    without a val split. Raises ConfigError and DataError for data that cannot be read.
    """
    with TemporaryDirectory() as folder:
        data = readable(data, Path(folder), max(config.train_images))
        images = read_dataset(data).images
        sizes = sorted({min(max(count, WARM_UP), len(images)) for count in config.train_images})
        trained: dict[int, Training] = {}  # by number of threads, on the most images

        def measure(threads: int) -> dict[str, Timing]:
            first = train_cold(data, WARM_UP, threads, config.device)
            trained[threads] = train_cold(data, sizes[-1], threads, config.device)
            seconds, bare = trained[threads].seconds, time_bare_network(images[:BARE_PASSES], config.device)
            timings = {f"sppdet {stage}": Timing(first.seconds[stage], (seconds[stage],)) for stage in seconds}
            return timings | {"bare network": Timing(bare[0], (sizes[-1] * median(bare),))}

        def conclude() -> tuple[list[Growth], dict[str, Any]]:
            most = thread_counts(config.threads)[-1]
            smaller = [train_cold(data, count, most, config.device) for count in sizes[:-1]]
            return describe_growth([*smaller, trained[most]])

        return measure_part(config.threads, RATIOS, measure, conclude)


def describe_growth(trainings: Sequence[Training]) -> tuple[list[Growth], dict[str, Any]]:
    """Return the growth of seconds with the number of images, and that of memory; the last training is the largest."""
    sizes, last = tuple(each.images for each in trainings), trainings[-1]
    seconds = {f"sppdet {stage}": tuple(each.seconds[stage] for each in trainings) for stage in STAGES}
    memory = {str(each.images): each.memory() for each in trainings}
    slopes = {stage: fit_line(sizes, [each[stage] for each in memory.values()]).slope for stage in last.memory()}
    return [Growth("images", sizes, seconds)], {
        "images": last.images,
        "seconds": sum(last.seconds.values()),
        "images_per_second": {str(each.images): each.images_per_second() for each in trainings},
        "peak_mb": memory | {"an image": slopes},
    }


def train_cold(data: DataConfig, images: int, threads: int, device: Device) -> Training:
    """Train on `images` images with empty caches, and remove everything afterwards."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(
            backbone=BackboneConfig(BACKBONE, "random"),
            data=replace(data, max_images=images),
            val="",
            output=str(folder / RUN.path),
            device=device,
            workers=threads,
        )
        with cache_in(folder / "cache"), watch_memory() as trace:
            ends = [time()]
            train(config)
        for files in STAGES.values():
            ends.append(max(file.stat().st_mtime for file in folder.glob(files)))
        spans = dict(zip(STAGES, pairwise(ends), strict=True))
        mined = load_tensors(folder / RUN.mined)[0]
    examples = 2 * len(mined["sources"]) * (mined["weights"].shape[1] - 1) / 1e6
    seconds = {stage: end - start for stage, (start, end) in spans.items()}
    return Training(images, seconds, {stage: trace.peak(*span) / 1e6 for stage, span in spans.items()}, examples)


def cache_in(folder: Path) -> AbstractContextManager[object]:
    """Set $SPPDET_CACHE to this folder, and restore it at the end."""
    return patch.dict(os.environ, SPPDET_CACHE=str(folder))


def time_bare_network(images: Sequence[Annotations], device: Device) -> list[float]:
    """Time the convolutions alone on each image, after a warm-up; preprocessing is not measured."""
    backbone = build_backbone(BACKBONE, "random", device)
    with torch.inference_mode():
        pixels = [backbone.normalize(resize_shorter_side(image.read(), SCALE)[None]) for image in images]

        def run(image: Tensor) -> float:
            return clocked(lambda: backbone(image))(0)

        run(pixels[0])
        return [run(image) for image in pixels]


def readable(data: DataConfig, folder: Path, images: int) -> DataConfig:
    """Return the data, or shapes generated in `folder` if there is no root."""
    if data.root:
        return data
    return DataConfig(root=str(generate_shapes(folder / "shapes", train=max(images, WARM_UP), test=1)))
