"""The parameters of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from sppdet.errors import ConfigError


@dataclass(frozen=True)
class BenchmarkConfig:
    """Parameters of the benchmark.

    Args:
        output: folder of benchmark.json and the plots.
        threads: numbers of threads to time; one and all by default.
        rounds: rounds of each comparison; proposals have one per image.
        regions: number of windows to pool.
        growth: numbers of regions to time.
        widths: image widths to time, in pixels.
        quality_images: images for the quality modes of selective search.
        detect_rounds: rounds of the parts detect and views, one image each.
        scales: shorter sides of the image to time, in pixels.
        train_images: numbers of training images to time.
        opencv_python: interpreter that has opencv-contrib-python.
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
