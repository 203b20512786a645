"""The order in which contestants are timed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def take_turns(contestants: Iterable[T], rounds: int, warmup: int = 1) -> list[tuple[int, list[T]]]:
    """Return the number of each round and the contestants in the order to run in it.

    Each contestant goes first in its turn, so that changes in the machine's speed affect all alike. The first `warmup`
    rounds have negative numbers and should not be counted: they compile kernels and fill caches.
    """
    given = list(contestants)
    starts = [(turn, max(turn, 0) % len(given)) for turn in range(-warmup, rounds)]
    return [(turn, given[start:] + given[:start]) for turn, start in starts]
