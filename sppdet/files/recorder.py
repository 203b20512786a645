"""The numbers that the stages of a training tell: written into the folder of its run, and to TensorBoard if wanted.

    with recording(folder):
        with step("heads-train"):
            record("refit", objective=0.5, gap=0.01)

Stages call `record` wherever they are; without a recording it does nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from sppdet.errors import ConfigError
from sppdet.files.metrics import Metrics, Row
from sppdet.runtime.memory import peak_memory
from sppdet.runtime.ranks import world


class Recorder:
    """Adds rows to the metrics of a run. Nothing is written before the first one."""

    def __init__(self, folder: Path, tensorboard: bool) -> None:
        """Raises ConfigError if TensorBoard is wanted and not installed."""
        self.metrics, self.step = Metrics(folder), ""
        self._counts, self._since = Counter[tuple[str, str]](), time.perf_counter()
        self._events = folder / "tensorboard"
        self._writer_class = _tensorboard() if tensorboard else None
        self._writer: Any = None

    def add(self, kind: str, number: int | None, values: Row) -> None:
        key = self.step, kind
        self._counts[key] = self._counts[key] + 1 if number is None else number
        now = time.perf_counter()
        cost: Row = {"seconds": round(now - self._since, 3), "memory_gb": peak_memory()}
        if torch.cuda.is_initialized():
            cost["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        if world() > 1:
            cost["processes"] = world()
        self._since = now
        self.metrics.add({"step": self.step, "kind": kind, "number": self._counts[key], **values, **cost})
        if self._writer_class:
            self._writer = self._writer or self._writer_class(str(self._events))
            for name, value in values.items():
                self._writer.add_scalar(f"{self.step}/{kind} {name}", value, self._counts[key])
            self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()


_running: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recording(folder: Path, tensorboard: bool = False) -> Iterator[None]:
    """Record the numbers of the block in the folder of a run; `tensorboard`: also in its folder tensorboard/."""
    recorder = Recorder(folder, tensorboard)
    token = _running.set(recorder)
    try:
        yield
    finally:
        _running.reset(token)
        recorder.close()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Name the step that the rows of the block belong to: the file of the run that it ends in, without its suffix."""
    recorder = _running.get()
    if recorder is None:
        yield
        return
    outer, recorder.step = recorder.step, name
    try:
        yield
    finally:
        recorder.step = outer


def record(kind: str, number: int | None = None, **values: float) -> None:
    """Add a row of this kind (`metrics.COLUMNS`), by default the next of its step in this session."""
    if recorder := _running.get():
        recorder.add(kind, number, values)


def recorded() -> Metrics | None:
    """Return the metrics that are recorded into, if any are."""
    recorder = _running.get()
    return recorder.metrics if recorder else None


def _tensorboard() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("is not installed", field="tensorboard", expected="pip install tensorboard") from error
    return SummaryWriter
