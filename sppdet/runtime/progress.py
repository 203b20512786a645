"""Progress of the stages of a command: on a terminal or in a notebook a bar each, elsewhere a log line each.

    with plan(Stage("features", 800, 0.4), Stage("fit", 100, 0.2)):
        for image in progress(images, "features"):
            ...

In a plan each stage says which one of how many it is, and its bar how long it is to the end of all.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import length_hint
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sppdet.wording import counted, duration

if TYPE_CHECKING:
    from sppdet.runtime.bar import Bar

logger = logging.getLogger(__name__)

T = TypeVar("T")

PRIOR_SECONDS = 5.0  # of typical work: the weight of the typical speed among the measured ones
FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]{whole}"


class Stage(NamedTuple):
    """A stage of a plan. items: None: as many as the stage before. seconds: typical per item; only ratios count."""

    title: str
    items: int | None
    seconds: float


class _Plan:
    """The stages of the work, and the time they took so far. A stage lasts until the next one begins."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages, self.at = stages, -1
        self._begun, self._items = 0.0, 0
        self._measured: dict[str, float] = {}  # seconds per item
        self._typical = self._taken = PRIOR_SECONDS

    def begin(self, title: str, items: int) -> str:
        """Begin the next stage of this title, and return its number; empty for work that is not in the plan."""
        later = [i for i in range(self.at + 1, len(self.stages)) if self.stages[i].title == title]
        if not later:
            return ""
        now = time.perf_counter()
        if self.at >= 0:
            ended, taken = self.stages[self.at], now - self._begun
            self._measured[ended.title] = taken / max(1, self._items)
            self._taken += taken
            self._typical += self._items * ended.seconds
        self.at, self._begun, self._items = later[0], now, items
        return f"{self.at + 1}/{len(self.stages)} "

    def to_end(self, done: int, rate: float) -> str:
        """Return the time to the end in words. done: items of the current stage. rate: its items/s, measured."""
        each = 1 / rate
        speed = (self._taken + done * each) / (self._typical + done * self.stages[self.at].seconds)
        left, items = (self._items - done) * each, self._items
        for later in self.stages[self.at + 1 :]:
            items = items if later.items is None else later.items
            left += items * self._measured.get(later.title, later.seconds * speed)
        return f", {duration(left)} to the end"


_running: ContextVar[_Plan | None] = ContextVar("plan", default=None)


@contextmanager
def plan(*stages: Stage) -> Iterator[None]:
    """Number the stages of the block, if it has several; those that it does not come to are passed over."""
    token = _running.set(_Plan(stages) if len(stages) > 1 else None)
    try:
        yield
    finally:
        _running.reset(token)


def progress(items: Iterable[T], title: str, total: int | None = None, unit: str = "image") -> Iterator[T]:
    """Yield the items, whose progress is shown. total: their number, if it is known and they have no length."""
    length = length_hint(items, -1)
    with start_bar(title, length if total is None and length >= 0 else total, unit) as bar:
        begun, count = time.perf_counter(), 0
        for item in items:
            yield item
            count += 1
            bar.update()
    if count:
        logger.debug("%s: %d in %.1f s", title, count, time.perf_counter() - begun)


def start_bar(title: str, total: int | None, unit: str, initial: int = 0) -> Bar:
    """Return the bar of a stage, to be updated by hand. unit: of `total`; "B": bytes."""
    from sppdet.runtime.bar import Bar  # loads tqdm

    stages, number = _running.get(), ""
    if stages and total != 0:
        number = stages.begin(title, total - initial if total else 0)
    to_end = stages.to_end if stages and number and total else None
    shown = total != 0 and logging.getLogger("sppdet").level <= logging.INFO
    terminal = sys.stderr.isatty() or "ipykernel" in sys.modules  # notebooks move the cursor back as well
    if shown and not terminal:
        size = "" if total is None else f": {total / 1e6:.0f} MB" if unit == "B" else f": {counted(total, unit)}"
        logger.info("%s%s%s", number, title, size)
    form = {"bar_format": FORMAT} if to_end else {}
    scale = {"unit": unit, "unit_scale": unit == "B"}
    return Bar(
        to_end, total=total, initial=initial, desc=f"{number}{title}", disable=not (shown and terminal), **scale, **form
    )
