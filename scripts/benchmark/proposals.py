"""Our selective search next to OpenCV's and dlib's: seconds, number of boxes, and recall."""

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.measure import Growth, Part, Ratios, Run, Timing, measure_growth, measure_part, take_turns
from benchmark.opencv_process import OpenCVProcess, start_opencv
from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.images import as_image, resize_array, to_array
from sppdet.proposals.selective_search import selective_search
from sppdet.structures import Dataset

WIDTH = 500  # pixels of the searched image, as in R-CNN
MIN_SIDE = 20  # pixels of the searched image; smaller boxes are dropped, ours and the peers'
CAP = 2000  # boxes per image in R-CNN and SPPnet
GROWTH_ROUNDS = 3

RATIOS: Ratios = {
    "ratio_vs_opencv_fast": ("OpenCV fast", "sppdet opencv_fast"),
    "ratio_vs_opencv_quality": ("OpenCV quality", "sppdet opencv_quality"),
    "ratio_paper_fast_vs_opencv_fast": ("OpenCV fast", "sppdet fast"),
    "ratio_paper_quality_vs_opencv_quality": ("OpenCV quality", "sppdet quality"),
    "ratio_vs_dlib": ("dlib", "sppdet opencv_fast"),
}

# From an RGB array uint8 (H, W, 3) and the number of threads: seconds, and boxes (N, 4) x1 y1 x2 y2, best first.
Search = Callable[[np.ndarray, int], tuple[float, np.ndarray]]

logger = logging.getLogger("sppdet.benchmark")


@dataclass(frozen=True, eq=False)
class Photographs:
    """RGB arrays uint8 (H, W, 3), and the data set they come from, None for images without annotations."""

    arrays: Sequence[np.ndarray]
    dataset: Dataset | None


def benchmark_proposals(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Time the fast modes on all images and the quality modes on the first few, all on the same resized input.

    Each round is one image. OpenCV and dlib take part if they are installed. Without `data.root` the images are
    scikit-learn's two photographs. Raises ConfigError and DataError for files that cannot be read or an interpreter
    that cannot be started.
    """
    photographs = read_photographs(data)
    searched = [resize_to_width(array, WIDTH) for array in photographs.arrays]
    few = searched[: config.quality_images]
    with _opencv(config.opencv_python) as opencv:
        fast, quality = choose_searches("fast", opencv), choose_searches("quality", opencv)
        boxes: dict[int, dict[str, dict[int, Tensor]]] = {}  # by number of threads, name and image

        def measure(threads: int) -> dict[str, Timing]:
            found = boxes[threads] = defaultdict(dict)
            timings = take_turns(_runs(fast, searched, threads, found), len(searched), f"fast, {threads} threads")
            return timings | take_turns(_runs(quality, few, threads, found), len(few), f"quality, {threads} threads")

        def conclude() -> tuple[list[Growth], dict[str, Any]]:
            last = max(boxes)
            return [_measure_growth(fast, photographs.arrays[0], config.widths, last)], {
                "images": len(searched),
                "quality_images": len(few),
                "width": WIDTH,
                "min_side": MIN_SIDE,
                "opencv": opencv.version if opencv else None,
                "same_boxes_on_all_threads": _same_boxes(list(boxes.values())),
                "boxes": {name: _cover(list(by.values()), searched, photographs) for name, by in boxes[last].items()},
            }

        return measure_part(config.threads, RATIOS, measure, conclude)


def read_photographs(data: DataConfig) -> Photographs:
    """Read the images of `data`, or scikit-learn's if there is no root."""
    if data.root:
        dataset = read_dataset(data)
        return Photographs([to_array(image.read()) for image in dataset.images], dataset)
    from sklearn.datasets import load_sample_image

    logger.info("no --data.root: searching scikit-learn's two photographs, without recall")
    return Photographs([load_sample_image(name) for name in ("china.jpg", "flower.jpg")], None)


def read_images(data: DataConfig, count: int) -> list[Tensor]:
    """Read up to `count` of these images: uint8 (3, H, W)."""
    few = replace(data, max_images=min(data.max_images or count, count))
    return [as_image(array) for array in read_photographs(few).arrays]


def resize_to_width(array: np.ndarray, width: int) -> np.ndarray:
    """Resize an array (H, W, 3) to `width` pixels, keeping its aspect."""
    return resize_array(array, max(1, round(array.shape[0] * width / array.shape[1])), width)


def choose_searches(mode: Literal["fast", "quality"], opencv: OpenCVProcess | None) -> dict[str, Search]:
    """Return by name our searches of this mode, with OpenCV's settings and the paper's, and the peers installed."""
    searches: dict[str, Search] = {
        f"sppdet opencv_{mode}": partial(_search_ours, f"opencv_{mode}"),
        f"sppdet {mode}": partial(_search_ours, mode),
    }
    if opencv:
        searches[f"OpenCV {mode}"] = lambda array, threads: opencv.search(array, mode, threads)
    if mode == "fast" and find_spec("dlib"):
        searches["dlib"] = _search_dlib
    return searches


@contextmanager
def _opencv(interpreter: str | None) -> Iterator[OpenCVProcess | None]:
    """Start OpenCV's selective search in `interpreter`, or in this one if its OpenCV has it; None otherwise."""
    if interpreter is None and not hasattr(cv2, "ximgproc"):
        logger.info("without OpenCV's selective search: --opencv_python names a Python with opencv-contrib-python")
        yield None
    else:
        with start_opencv(interpreter or sys.executable) as opencv:
            yield opencv


def _search_ours(mode: str, array: np.ndarray, threads: int) -> tuple[float, np.ndarray]:
    image = torch.from_numpy(array).permute(2, 0, 1)
    start = time.perf_counter()
    boxes = selective_search(image, mode, width=None, min_side=MIN_SIDE, limit=None, threads=threads)
    return time.perf_counter() - start, boxes.numpy()


def _search_dlib(array: np.ndarray, _threads: int) -> tuple[float, np.ndarray]:
    """Search with dlib and its defaults; it uses one thread and returns inclusive corners."""
    import dlib

    found: list[Any] = []
    start = time.perf_counter()
    dlib.find_candidate_object_locations(array, found)
    seconds = time.perf_counter() - start
    corners = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in found]
    return seconds, np.array(corners, np.int64).reshape(-1, 4)


def _runs(
    searches: Mapping[str, Search], arrays: Sequence[np.ndarray], threads: int, boxes: dict[str, dict[int, Tensor]]
) -> dict[str, Run]:
    """Contestants: search array i in round i, and store the boxes with sides of MIN_SIDE or more in boxes[name][i]."""

    def run(name: str, turn: int) -> float:
        seconds, found = searches[name](arrays[turn], threads)
        large = (found[:, 2:] - found[:, :2] >= MIN_SIDE).all(axis=1)
        boxes[name][turn] = torch.from_numpy(found[large].astype(np.float32))
        return seconds

    return {name: partial(run, name) for name in searches}


def _measure_growth(searches: Mapping[str, Search], array: np.ndarray, widths: Sequence[int], threads: int) -> Growth:
    """Measure the seconds of one image at several widths, by its number of pixels."""
    arrays = {array.size // 3: array for array in (resize_to_width(array, width) for width in widths)}

    def runs_at(pixels: int) -> dict[str, Run]:
        return _runs(searches, [arrays[pixels]] * GROWTH_ROUNDS, threads, defaultdict(dict))

    return measure_growth("pixels", arrays, runs_at, GROWTH_ROUNDS)


def _same_boxes(found: Sequence[Mapping[str, Mapping[int, Tensor]]]) -> bool:
    """Return whether our boxes are the same, in the same order, with every number of threads."""
    ours = [name for name in found[0] if name.startswith("sppdet")]
    return all(torch.equal(found[0][name][i], boxes[name][i]) for boxes in found for name in ours for i in boxes[name])


def _cover(boxes: Sequence[Tensor], searched: Sequence[np.ndarray], photographs: Photographs) -> dict[str, Any]:
    """Return boxes per image, and with annotations recall and MABO. Boxes are in pixels of the searched images."""
    dataset = photographs.dataset
    if dataset is None:
        return {"images": len(boxes), "boxes_per_image": sum(map(len, boxes)) / len(boxes)}
    sizes = zip(searched, photographs.arrays, strict=True)
    ratios = [(full.shape[1] / small.shape[1], full.shape[0] / small.shape[0]) for small, full in sizes]
    scaled = [found * torch.tensor(2 * ratio) for found, ratio in zip(boxes, ratios, strict=False)]  # of the first
    capped = [found[:CAP] for found in scaled]
    every, best = (evaluate_proposals(some, dataset.images[: len(boxes)], dataset.classes) for some in (scaled, capped))
    kept = ("boxes_per_image", "recall", "mabo")
    at_cap = {f"{name}_at_{CAP}": getattr(best, name) for name in kept}
    return {"images": len(boxes)} | {name: getattr(every, name) for name in kept} | at_cap
