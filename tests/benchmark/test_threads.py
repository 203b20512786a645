"""Numbers of threads, and their settings."""

from contextlib import suppress

import cv2
import numba
import pytest
import torch
from benchmark import threads

from sppdet.errors import ConfigError


def test_threads_are_one_and_all_or_those_given(monkeypatch):
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    assert threads.thread_counts(None) == (1, 4)
    assert threads.thread_counts((3, 2, 3)) == (2, 3)
    for wrong in ((5,), (0, 1)):
        with pytest.raises(ConfigError, match=r"threads.*expected 1\.\.4"):
            threads.thread_counts(wrong)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    assert threads.thread_counts(None) == (1,)


def test_threads_are_set_and_put_back_even_after_an_error():
    numba.get_num_threads()  # the first call starts numba's OpenMP, which may be torch's and sets its threads

    def current():
        return torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads()

    cores = cv2.getNumThreads()
    try:
        torch.set_num_threads(3)
        cv2.setNumThreads(2)
        before = current()
        with suppress(KeyError), threads.using_threads(1):
            inside = current()
            raise KeyError
        assert (inside, current()) == ((1, 1, 1), before)
    finally:
        torch.set_num_threads(1)
        cv2.setNumThreads(cores)
