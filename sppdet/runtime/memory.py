"""Allocation of memory, and its return to the system."""

import ctypes
import functools
import platform
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MMAP_THRESHOLD = 2**28  # bytes; larger arrays have memory of their own, which is returned at once
RELEASE_EVERY = 32  # items
_HAS_GLIBC = platform.libc_ver()[0] == "glibc"


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep some of the memory it frees for its next arrays, if the C library is glibc.

    Otherwise the 60 MB of a whole image's first maps are given back after each image, and getting them again, page by
    page, takes a fifth of the time of the convolutions. Later calls do nothing.
    """
    if _HAS_GLIBC:
        m_trim_threshold, m_mmap_threshold = -1, -3  # of malloc.h
        libc = ctypes.CDLL(None)
        # Old versions take no more than 32 MB.
        libc.mallopt(m_mmap_threshold, MMAP_THRESHOLD) or libc.mallopt(m_mmap_threshold, 2**25)
        libc.mallopt(m_trim_threshold, 2 * MMAP_THRESHOLD)


def release_freed_memory() -> None:
    """Return the memory that `keep_freed_memory` kept to the operating system."""
    if _HAS_GLIBC:
        ctypes.CDLL(None).malloc_trim(0)


def trim_memory(items: Iterable[T]) -> Iterator[T]:
    """Yield `items`, returning freed memory to the operating system every 32 items.

    Images of many sizes fragment the heap; without this, memory use grows with the number of images.
    """
    for count, item in enumerate(items, start=1):
        yield item
        if count % RELEASE_EVERY == 0:
            release_freed_memory()


def peak_memory() -> float | None:
    """Return the most memory that this process has had, in GB; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
