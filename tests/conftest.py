"""What every test shares: a cache of its own, and the real data where SPPDET_SHARED names it."""

from __future__ import annotations

import os
from pathlib import Path

import numba
import pytest
import torch
from hypothesis import settings

settings.register_profile("ci", deadline=None)  # a busy machine is no failure
settings.register_profile("nightly", deadline=None, max_examples=1000)  # pytest --hypothesis-profile nightly
settings.load_profile("ci")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The tests' matrices are small: threads that wait for one another on busy cores would cost minutes, in each of
    several processes (`pytest -n 2`) still more."""
    numba.set_num_threads(1)  # before torch's: if both share an OpenMP, numba's start sets its threads
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A fresh cache folder for each test, so that none reads another's or the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SPPDET_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights; tests that need it are skipped where SPPDET_SHARED is unset."""
    if not os.environ.get("SPPDET_SHARED"):
        pytest.skip("SPPDET_SHARED is not set")
    return Path(os.environ["SPPDET_SHARED"]).resolve()
