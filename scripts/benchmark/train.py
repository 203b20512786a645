"""Training SVMs from cold: seconds and memory of each stage, and how they grow with the images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import time

import torch
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.measure import (
    Growth,
    Part,
    Ratios,
    Row,
    Timing,
    clocked,
    find_ratios,
    fit_line,
    thread_counts,
    using_threads,
)
from benchmark.memory import watch_memory
from sppdet.backbones.zoo import build_backbone
from sppdet.config.data import DataConfig
from sppdet.config.network import BackboneConfig
from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.files.atomic import load_tensors
from sppdet.images import normalize, read_image, resize_shorter_side
from sppdet.shapes.dataset import generate_shapes
from sppdet.training.train import train

BACKBONE = "squeezenet1_0"
SCALE = 688
WARM_UP = 5  # images, the fewest of which one is held out
BARE_PASSES = 8  # of the bare network, an image each

# The files, in the cache or in the run's folder, with the last of which a stage ends.
STAGES = {
    "proposals": "cache/proposals/*/*",
    "features": "cache/features/*/*",
    "mining": "run/mined.safetensors",
    "box regression": "run/heads-train.safetensors",
    "held-out images": "run/val.json",
    "refit on all": "run/detector.safetensors",
}

RATIOS: Ratios = {"ratio_fill_vs_bare_network": ("bare network", "sppdet features")}


@dataclass(frozen=True)
class Training:
    """Seconds and peak anonymous memory (MB) of each stage, with so many MB of examples mined in the end."""

    images: int
    seconds: Mapping[str, float]
    peaks: Mapping[str, float]
    examples: float

    def images_per_second(self) -> dict[str, float]:
        return {stage: self.images / seconds for stage, seconds in self.seconds.items()}

    def memory(self) -> dict[str, float]:
        """Peaks in MB, among them that of mining beyond the examples, which are bounded."""
        examples = {"examples": self.examples, "mining beyond examples": self.peaks["mining"] - self.examples}
        return {**self.peaks, **examples}


def benchmark_train(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Train detectors on the first `config.train_images` of the data, each from cold in folders of its own.

    Without `data.root` the images are generated shapes. A training on few images before compiles the kernels: its
    seconds are those of the first call. The network's weights are random. Every fifth image is held out, as where there
    is no val split. Raises ConfigError and DataError for data that cannot be read.
    """
    with TemporaryDirectory() as folder:
        data = _readable(data, Path(folder), max(config.train_images))
        paths = [image.path for image in read_dataset(data).images]
        sizes = sorted({min(max(count, WARM_UP), len(paths)) for count in config.train_images})
        rows = []
        for threads in thread_counts(config.threads):
            with using_threads(threads):
                first, trained = train_cold(data, WARM_UP, threads), train_cold(data, sizes[-1], threads)
                bare = time_bare_network(paths[:BARE_PASSES])
            timings = {
                f"sppdet {stage}": Timing(first.seconds[stage], (seconds,))
                for stage, seconds in trained.seconds.items()
            }
            timings["bare network"] = Timing(bare[0], (len(paths[: sizes[-1]]) * median(bare),))
            rows.append(Row(threads, timings, find_ratios(timings, RATIOS)))
        with using_threads(rows[-1].threads):
            trainings = [*(train_cold(data, count, rows[-1].threads) for count in sizes[:-1]), trained]
    growth = Growth(
        "images", tuple(sizes), {f"sppdet {s}": tuple(each.seconds[s] for each in trainings) for s in STAGES}
    )
    memory = {str(each.images): each.memory() for each in trainings}
    slopes = {stage: fit_line(sizes, [each[stage] for each in memory.values()]).slope for stage in trained.memory()}
    facts = {
        "images": sizes[-1],
        "seconds": sum(trained.seconds.values()),
        "images_per_second": {str(each.images): each.images_per_second() for each in trainings},
        "peak_mb": memory | {"an image": slopes},
    }
    return Part(rows, [growth], facts)


def train_cold(data: DataConfig, images: int, threads: int) -> Training:
    """Train on so many images with nothing in the caches, and leave nothing."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(
            backbone=BackboneConfig(BACKBONE, "random"),
            data=replace(data, max_images=images),
            val="",
            output=str(folder / "run"),
            workers=threads,
        )
        with cache_in(folder / "cache"), watch_memory() as trace:
            ends = [time()]
            train(config)
        for files in STAGES.values():
            ends.append(max(file.stat().st_mtime for file in folder.glob(files)))
        spans = dict(zip(STAGES, pairwise(ends), strict=True))
        mined = load_tensors(folder / "run/mined.safetensors")[0]
    examples = 2 * len(mined["sources"]) * (mined["weights"].shape[1] - 1) / 1e6
    seconds = {stage: end - start for stage, (start, end) in spans.items()}
    return Training(images, seconds, {stage: trace.peak(*span) / 1e6 for stage, span in spans.items()}, examples)


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """$SPPDET_CACHE names this folder; as before at the end."""
    before = os.environ.get("SPPDET_CACHE")
    os.environ["SPPDET_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPPDET_CACHE"]
        else:
            os.environ["SPPDET_CACHE"] = before


def time_bare_network(paths: Sequence[Path]) -> list[float]:
    """Seconds of the convolutions alone on each image file, read, resized and normalized before; after a warm-up."""
    backbone = build_backbone(BACKBONE, "random")
    with torch.inference_mode():
        pixels = [
            normalize(resize_shorter_side(read_image(path), SCALE)[None], backbone.mean, backbone.std) for path in paths
        ]

        def run(image: Tensor) -> float:
            return clocked(lambda: backbone(image))(0)

        run(pixels[0])
        return [run(image) for image in pixels]


def _readable(data: DataConfig, folder: Path, images: int) -> DataConfig:
    """The data, or shapes made in `folder` where no root is given."""
    if data.root:
        return data
    return DataConfig(root=str(generate_shapes(folder / "shapes", train=max(images, WARM_UP), test=1)))
