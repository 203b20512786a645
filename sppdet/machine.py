"""The machine that a program runs on: what it is, and how its memory is asked for."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PACKAGES = ("torch", "torchvision", "numpy", "numba")
LARGEST_KEPT = 2**28  # bytes; a larger array that needs new memory has it alone, and gives it back at once
RELEASE_EVERY = 32  # items
_HAS_GLIBC = platform.libc_ver()[0] == "glibc"


def processor_name() -> str:
    """The processor's name; Linux gives it in a file only."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def count_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let this process keep some of the memory it frees for its next arrays, where the C library is glibc.

    Otherwise the 60 MB of a whole image's first maps are given back after each image, and getting them again, page by
    page, takes a fifth of the time of the convolutions.
    """
    if _HAS_GLIBC:
        m_trim_threshold, m_mmap_threshold = -1, -3  # of malloc.h
        libc = ctypes.CDLL(None)
        # Old versions take no more than 32 MB.
        libc.mallopt(m_mmap_threshold, LARGEST_KEPT) or libc.mallopt(m_mmap_threshold, 2**25)
        libc.mallopt(m_trim_threshold, 2 * LARGEST_KEPT)


def release_freed_memory() -> None:
    """Give back what `keep_freed_memory` kept until now."""
    if _HAS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)


def releasing(items: Iterable[T]) -> Iterator[T]:
    """The same items, with what is kept given back now and then: work on images of many sizes leaves gaps in it, which
    would grow with their number."""
    for count, item in enumerate(items, start=1):
        yield item
        if count % RELEASE_EVERY == 0:
            release_freed_memory()


def describe_machine() -> dict[str, str | int]:
    """The processor, its cores, the system, and the versions that decide how fast things are."""
    import cv2

    facts: dict[str, str | int] = {
        "processor": processor_name(),
        "cores": count_cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    versions = {name: version(name) for name in PACKAGES}
    return facts | {"python": platform.python_version()} | versions | {"opencv": cv2.__version__}
