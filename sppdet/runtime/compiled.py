"""Functions compiled by numba: kept on disk where that is possible, and called from any thread or process."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from threading import Lock
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache

from sppdet.runtime.forks import is_forked

logger = logging.getLogger(__name__)

_one_thread = Lock()


def compiled(parallel: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function, as `numba.njit(cache=True)` does, which needs a folder to write to.

    It is $NUMBA_CACHE_DIR, the folder of the function's file, one in the home folder, or else $SPPDET_CACHE/numba. If
    none can be written, the function is compiled again in every process, and a warning says so once.

    A parallel function runs on one thread where numba would end the process: in a forked one, and in all Python threads
    but one if numba's threading layer is workqueue. It has to give the same on any number of threads.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        if not parallel:
            return _compile(function, **options)
        return _choosing(_compile(function, parallel=True, **options), _compile(_renamed(function), **options))

    return decorate


def _choosing(parallel: Callable[..., Any], sequential: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(parallel)
    def run(*arguments: Any) -> Any:
        if is_forked():
            return sequential(*arguments)
        if _takes_threads():
            return parallel(*arguments)
        if not _one_thread.acquire(blocking=False):
            return sequential(*arguments)
        try:
            return parallel(*arguments)
        finally:
            _one_thread.release()

    return run


def _takes_threads() -> bool:
    """Return True if several threads may start parallel regions; the layer is unknown before the first one."""
    try:
        return numba.threading_layer() != "workqueue"
    except ValueError:
        return False


def _renamed(function: Any) -> FunctionType:
    """Return a copy whose name, and with it its place on the disk, is another."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__qualname__ = f"{function.__qualname__}_sequential"
    return copy


def _compile(function: Any, **options: Any) -> Any:
    dispatcher = numba.njit(**options)(function)
    for folder in (None, os.environ.get("SPPDET_CACHE")):
        if folder:
            numba.config.CACHE_DIR = os.path.join(folder, "numba")  # type: ignore[attr-defined]
        with suppress(RuntimeError):  # no locator available
            dispatcher._cache = _Cache(function)
            return dispatcher
    _warn()
    return dispatcher


class _Cache(FunctionCache):
    """Numba's, in which damaged files and a full disk end no program."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # damaged files make pickle raise almost any
            with suppress(OSError):
                self.flush()
        if found is None:
            _announce()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            _warn()


@cache
def _announce() -> None:
    """Cached, so that it is logged once."""
    logger.info("compiling functions for this machine, which takes up to a minute, the first time only")


@cache
def _warn() -> None:
    """Cached, so that it is logged once."""
    way = "set NUMBA_CACHE_DIR or SPPDET_CACHE to a folder that can be written"
    logger.warning("functions are compiled in every process, which takes a minute: %s", way)
