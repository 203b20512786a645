"""The memory of this process over time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from sppdet.runtime.memory import release_freed_memory

EVERY = 0.02  # seconds between samples
STATUS = Path("/proc/self/status")


@dataclass
class MemoryTrace:
    """Samples of (`time.time()`, bytes of anonymous memory); empty on systems that do not report it."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def peak(self, start: float, end: float) -> float:
        """Return the largest sample between two moments, in bytes; NaN without samples."""
        return max((taken for moment, taken in self.samples if start <= moment <= end), default=float("nan"))


@contextmanager
def watch_memory() -> Iterator[MemoryTrace]:
    """Trace the anonymous memory of this process (without page cache) from a thread. Memory freed earlier is returned
    to the system first, so that it does not count."""
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
    """Return the bytes of anonymous memory of this process; None on systems other than Linux."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return 1024 * int(found[0]) if found else None
