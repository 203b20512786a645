"""The parameters of the benchmark."""

from sppdet.config.network import Device
from sppdet.config.record import at_least, section


@section("")
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
        finetune_images: images of an epoch of fine-tuning.
        opencv_python: interpreter that has opencv-contrib-python.
        device: auto (CUDA if torch finds it), cpu or cuda; used by all parts except proposals and heads.
    """

    output: str = "runs/benchmark"
    threads: tuple[int, ...] | None = None
    rounds: int = at_least(1, 7)
    regions: int = at_least(1, 2000)
    growth: tuple[int, ...] = at_least(1, (100, 300, 1000, 2000, 4000))
    widths: tuple[int, ...] = at_least(1, (250, 350, 500, 700, 1000))
    quality_images: int = at_least(1, 10)
    detect_rounds: int = at_least(1, 3)
    scales: tuple[int, ...] = at_least(1, (344, 486, 688, 973))
    train_images: tuple[int, ...] = at_least(1, (60, 90, 120))
    finetune_images: int = at_least(1, 32)
    opencv_python: str | None = None
    device: Device = "auto"
