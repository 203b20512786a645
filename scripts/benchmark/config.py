"""The parameters of a benchmark. Nothing here imports torch, so that `sppdet --help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass

from sppdet.errors import ConfigError


@dataclass(frozen=True)
class BenchmarkConfig:
    """How `sppdet benchmark` measures.

    Args:
        output: folder of benchmark.json and the plots.
        threads: numbers of threads to time, ascending; by default one and all.
        rounds: measurements of each peer in turns; proposals have a round an image instead.
        regions: windows that are pooled.
        growth: numbers of regions to time.
        widths: image widths to time.
        quality_images: at most so many images for the quality modes of selective search.
        detect_rounds: measurements of R-CNN mode and of a pass for each view, which take long, and of what is compared
            with them; an image each.
        scales: shorter sides of the image, in pixels, to time whole-image passes at.
        train_images: numbers of images to train on; the largest is timed with each number of threads.
        opencv_python: a Python interpreter with opencv-contrib-python, whose selective search is timed beside ours; by
            default this one where its OpenCV has it.
    """

    output: str = "runs/benchmark"
    threads: tuple[int, ...] | None = None
    rounds: int = 7
    regions: int = 2000
    growth: tuple[int, ...] = (100, 300, 1000, 2000, 4000)
    widths: tuple[int, ...] = (250, 350, 500, 700, 1000)
    quality_images: int = 10
    detect_rounds: int = 3
    scales: tuple[int, ...] = (344, 486, 688, 973)
    train_images: tuple[int, ...] = (60, 90, 120)
    opencv_python: str | None = None

    def __post_init__(self) -> None:
        for name in (
            "rounds",
            "regions",
            "growth",
            "widths",
            "quality_images",
            "detect_rounds",
            "scales",
            "train_images",
        ):
            value = getattr(self, name)
            numbers = [value] if isinstance(value, int) else value
            if not numbers or min(numbers) < 1:
                raise ConfigError("out of range", field=name, expected="1 or more", got=value)
