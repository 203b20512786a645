"""The processes of one command that torchrun started, its ranks, on one machine or several.

Every rank carries out the same command: it takes its part of the images or classes where the code says `spread`, and
gets the results of all; the gradients of their images are added up. The other steps are the same everywhere, and the
files are those of rank 0. Ranks meet before they exchange anything, so that a long step is no fault; one that gives no
sign of life for two minutes is named, and all end. Without torchrun there is one rank, and nothing is exchanged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sppdet.errors import ConfigError
from sppdet.runtime.group import Group

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

COMMANDS = ("train", "evaluate", "classify train", "classify evaluate")
OF_SHARDS = ("detect", "proposals")  # each rank is a process of its own
EACH = 4  # items of a rank between two exchanges

_group: Group | None = None


def rank() -> int:
    """Return the number of this process, from 0."""
    return _group.rank if _group else 0


def world() -> int:
    """Return the number of processes that carry out the command."""
    return _group.world if _group else 1


@contextmanager
def joined(command: str) -> Iterator[bool]:
    """Join the ranks of a command while the block runs, if torchrun started several. Gives True on rank 0.

    An error on any rank is told in one line that names the rank, and ends all. Raises ConfigError for other commands.
    """
    global _group
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE") == "1" or command in OF_SHARDS:
        yield True
        return
    _group = Group()
    if _group.rank:
        logging.getLogger("sppdet").setLevel(logging.CRITICAL)
    try:
        if command not in COMMANDS:
            expected = f"{', '.join(COMMANDS)}, or one process"
            raise ConfigError("does not run in several processes", field=command, expected=expected)
        _group.connect()
        yield _group.rank == 0
        _group.meet()
        _group.end()
    except BaseException as error:
        _group.fail(error)
        raise
    finally:
        _group = None


def spread(items: Sequence[T], compute: Callable[[T], tuple[Tensor, ...]], each: int = EACH) -> Iterator[list[Tensor]]:
    """Yield the tensors `compute(item)` of every item in order, on all ranks; each computes its part of the items.

    each: items that a rank computes before it exchanges them. One rank computes an item when it is asked for.
    """
    if world() == 1:
        yield from (list(compute(item)) for item in items)
        return
    for start in range(0, len(items), each * world()):
        part = items[start : start + each * world()]
        mine = [compute(item) for item in part[rank() :: world()]]
        named = {f"{n} {k}": tensor for n, tensors in enumerate(mine) for k, tensor in enumerate(tensors)}
        of_ranks = exchange(named)
        for place in range(len(part)):
            found, n = of_ranks[place % world()], place // world()
            count = sum(name.startswith(f"{n} ") for name in found)
            yield [found[f"{n} {k}"] for k in range(count)]


def exchange(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the named tensors of each rank, on the CPU."""
    return _group.exchange(tensors) if _group else [dict(tensors)]


def of_first(tensor: Tensor) -> Tensor:
    """Return the tensor of rank 0, where that of another machine may differ in its last digits."""
    return exchange({"": tensor})[0][""] if _group else tensor


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace tensors, of the same shapes on all ranks, by their sums over the ranks."""
    if _group:
        _group.combine(tensors, "all_reduce")


def take_first(tensors: Iterable[Tensor]) -> None:
    """Replace tensors, of the same shapes on all ranks, by those of rank 0."""
    if _group:
        _group.combine(tensors, "broadcast", src=0)


def meet() -> None:
    """Wait until every rank is here."""
    if _group:
        _group.meet()
