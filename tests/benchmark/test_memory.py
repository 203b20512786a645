"""Peaks of memory, as the system tells them and from traces that are known."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
from benchmark import memory
from benchmark.memory import MemoryTrace, anonymous_memory, watch_memory


def test_a_peak_is_the_most_between_two_moments():
    trace = MemoryTrace([(1.0, 10), (2.0, 30), (3.0, 20)])
    assert (trace.peak(0, 5), trace.peak(2.5, 5), trace.peak(1, 1)) == (30, 20, 10)
    assert math.isnan(trace.peak(4, 5))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells a process's memory")
def test_what_is_taken_while_watching_is_seen():
    with watch_memory() as trace:
        time.sleep(2 * memory.EVERY)
        start = time.time()
        block = np.ones(100_000_000, np.uint8)
        time.sleep(5 * memory.EVERY)
        end = time.time()
        del block
    assert trace.peak(start, end) - trace.peak(0, start) == pytest.approx(1e8, rel=0.1)


def test_where_the_system_does_not_tell_there_is_no_trace(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    assert anonymous_memory() is None
    with watch_memory() as trace:
        pass
    assert trace.samples == []
