"""Stages are timed where a stopwatch runs, and only there."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sppdet.runtime.stopwatch import Stopwatch, count_windows, stage


def work(seconds: float = 0.01) -> None:
    with stage("conv"):
        time.sleep(seconds)
    count_windows(5, 3)


def test_stages_add_up_while_the_stopwatch_runs():
    work()
    with Stopwatch() as clock:
        work()
        work()
    work()
    assert set(clock.seconds) == {"conv"}
    assert 0.02 <= clock.seconds["conv"] < 1
    assert (clock.regions, clock.windows) == (10, 6)


def test_the_innermost_stopwatch_runs_and_gives_back():
    with Stopwatch() as outer:
        with Stopwatch() as inner:
            work()
        assert not outer.seconds
        work()
    assert inner.regions == outer.regions == 5


def test_an_error_stops_the_stopwatch_and_other_threads_are_not_timed():
    clock = Stopwatch()
    with pytest.raises(ValueError, match="broken"), clock, stage("nms"):
        raise ValueError("broken")
    work()
    assert not clock.seconds
    with Stopwatch() as clock, ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    assert not clock.seconds
