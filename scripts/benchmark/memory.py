"""The memory that a process takes while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from sppdet.runtime.memory import release_freed_memory

EVERY = 0.02  # seconds between two looks
STATUS = Path("/proc/self/status")


@dataclass
class MemoryTrace:
    """Anonymous memory in bytes at moments of `time.time`; empty where the system does not tell."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def peak(self, start: float, end: float) -> float:
        """The most between two moments, in bytes; NaN where nothing was seen."""
        return max((taken for moment, taken in self.samples if start <= moment <= end), default=float("nan"))


@contextmanager
def watch_memory() -> Iterator[MemoryTrace]:
    """Trace the anonymous memory of this process, page cache apart, from a thread. What was freed before is given back
    first, so that it does not count."""
    release_freed_memory()
    trace, done = MemoryTrace(), Event()

    def watch() -> None:
        while not done.is_set():
            taken = anonymous_memory()
            if taken is None:
                return
            trace.samples.append((time.time(), taken))
            done.wait(EVERY)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield trace
    finally:
        done.set()
        thread.join()


def anonymous_memory() -> int | None:
    """Bytes of this process's own memory now; None where the system does not tell (only Linux does)."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return 1024 * int(found[0]) if found else None
