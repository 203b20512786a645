"""Time spent in each stage of detection, read by the comparison."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Stage = Literal["proposals", "prepare", "conv", "pooling", "heads", "nms"]
STAGES: tuple[Stage, ...] = ("proposals", "prepare", "conv", "pooling", "heads", "nms")


class Stopwatch:
    """Adds up seconds a stage; on CUDA it waits for the device at both ends of a stage.

    regions, windows: how many were asked for, and how many windows of cells these fall on.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.regions = self.windows = 0
        self._synchronize = torch.device(device).type == "cuda"

    @contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        if self._synchronize:
            torch.cuda.synchronize()
        start = time.perf_counter()
        yield
        if self._synchronize:
            torch.cuda.synchronize()
        self.seconds[stage] += time.perf_counter() - start
