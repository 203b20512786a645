"""Reading ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter, thread_time
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

FIRST = 50  # small files


def prefetch(items: Iterable[T], read: Callable[[T], R], threads: int = 1, ahead: int | None = None) -> Iterator[R]:
    """Yield `read(item)` for each item, in order, while `threads` threads read the next ones.

    ahead: number of items read in advance, `threads` by default.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > (ahead or threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_small_files(items: Iterable[T], read: Callable[[T], R]) -> Iterator[R]:
    """Yield `read(item)` for each item, in order; threads read ahead if the first ones were waited for.

    Where they were not, as on a disk whose content is in memory, Python's lock would make threads slower than none.
    """
    items = iter(items)
    begun, worked = perf_counter(), thread_time()
    first = [read(item) for item in islice(items, FIRST)]
    waited = perf_counter() - begun > 2 * (thread_time() - worked)
    yield from first
    yield from prefetch(items, read, threads=4, ahead=100) if waited else map(read, items)
