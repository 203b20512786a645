"""The progress bar of a stage."""

import os
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

WARM_SECONDS = 0.5  # after the first item, before a rate is told


class Bar(tqdm):
    """A bar whose rate leaves the first item out: that one compiles kernels, and fills caches."""

    _warm: tuple[float, float] | None = None  # items and time after the first
    _to_end: Callable[[int, float], str] | None = None

    def __init__(self, to_end: Callable[[int, float], str] | None = None, **options: Any) -> None:
        """to_end: returns words for the time to the end of all stages, from the items done and those per second."""
        self._to_end = to_end
        super().__init__(**{**_usual_size(), **options})

    def update(self, n: float | None = 1) -> bool | None:
        if self._warm is None and not self.disable:
            self._warm = self.n + (n or 0), self._time()
        return super().update(n)

    @property
    def format_dict(self) -> Any:
        shown = super().format_dict
        items, begun = self._warm or (self.n, self._time())
        seconds = self._time() - begun
        ended = self.n == self.total
        if not ended:
            shown["rate"] = (self.n - items) / seconds if seconds > WARM_SECONDS else 0  # 0: shown as unknown
        rate = shown["rate"] if not ended else 0
        shown["whole"] = self._to_end(self.n - self.initial, rate) if self._to_end and rate else ""
        return shown


def _usual_size() -> dict[str, int]:
    """Return the size to take for a terminal that does not say its own; tqdm would draw nothing there."""
    try:
        silent = os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):  # no terminal, or one of a notebook
        silent = False
    return {"ncols": 80, "nrows": 24} if silent else {}
