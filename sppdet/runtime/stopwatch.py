"""Time spent in each stage of detection, measured from outside.

    with Stopwatch() as clock:
        detector.detect(image)
    clock.seconds["conv"]

The code that is timed marks its stages with `with stage("conv"):`, which costs next to nothing while no stopwatch runs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal, get_args

import torch

Stage = Literal["proposals", "preprocess", "conv", "pooling", "heads", "nms"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Stopwatch:
    """Seconds of each stage that runs inside its `with` block, added up. Other threads are not timed.

    On CUDA it waits for the device at both ends of a stage. Of nested stopwatches the innermost runs.
    regions, windows: number of regions to pool from maps, and of distinct windows of cells that they fall on.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.regions = self.windows = 0

    def __enter__(self) -> Stopwatch:
        self._outer = _running.get()
        _running.set(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _running.set(self._outer)

    @contextmanager
    def time(self, name: Stage) -> Iterator[None]:
        """Add the seconds of the block to the stage's total."""
        wait_for_device()
        start = time.perf_counter()
        yield
        wait_for_device()
        self.seconds[name] += time.perf_counter() - start


_running: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)
_UNTIMED = nullcontext()


def stage(name: Stage) -> AbstractContextManager[None]:
    """Mark a block as part of a stage, for the running stopwatch if there is one."""
    clock = _running.get()
    return _UNTIMED if clock is None else clock.time(name)


def count_windows(regions: int, windows: int) -> None:
    """Tell the running stopwatch how many distinct windows a number of regions fall on."""
    clock = _running.get()
    if clock is not None:
        clock.regions += regions
        clock.windows += windows


def wait_for_device() -> None:
    """Wait until CUDA has done everything that was asked of it, if it is in use."""
    if torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            if torch.cuda.memory_reserved(device):
                torch.cuda.synchronize(device)
