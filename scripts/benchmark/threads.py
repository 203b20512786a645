"""Numbers of threads: those to measure, and the settings of torch, numba and OpenCV."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numba
import torch

from sppdet.errors import ConfigError


def thread_label(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def thread_counts(given: Sequence[int] | None) -> tuple[int, ...]:
    """Return the numbers of threads to measure, ascending: those given, or one and all.

    Raises ConfigError for more than numba was started with (all cores, or $NUMBA_NUM_THREADS).
    """
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    counts = tuple(sorted(set(given or (1, most))))
    if counts[0] < 1 or counts[-1] > most:
        raise ConfigError("out of range", field="threads", expected=f"1..{most}", got=counts)
    return counts


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch, numba and OpenCV use `count` threads, and restore their settings at the end."""
    before = torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()
    try:
        _set_threads(count, count, count)
        yield
    finally:
        _set_threads(*before)


def _set_threads(of_torch: int, of_numba: int, of_opencv: int) -> None:
    numba.set_num_threads(of_numba)  # before torch's: where both share an OpenMP, numba's start sets its threads
    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)
