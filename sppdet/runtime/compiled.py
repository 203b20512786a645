"""Functions compiled by numba, kept on disk where that is possible."""

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numba

logger = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function, as `numba.njit(cache=True)` does, which needs a folder to write to.

    It is $NUMBA_CACHE_DIR, the folder of the function's file, one in the home folder, or else $SPPDET_CACHE/numba. If
    none can be written, the function is compiled again in every process, and a warning says so once.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        for folder in (None, os.environ.get("SPPDET_CACHE")):
            if folder:
                numba.config.CACHE_DIR = os.path.join(folder, "numba")  # type: ignore[attr-defined]
            try:
                return numba.njit(cache=True, **options)(function)
            except RuntimeError:  # no locator available
                continue
        _warn()
        return numba.njit(**options)(function)

    return decorate


@cache
def _warn() -> None:
    """Cached, so that it is logged once."""
    way = "set NUMBA_CACHE_DIR or SPPDET_CACHE to a folder that can be written"
    logger.warning("functions are compiled in every process, which takes a minute: %s", way)
