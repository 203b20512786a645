"""A training on the small generated data set that takes a second."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from factories import train_arguments, train_config
from rank_runs import TUNED

from sppdet.cli import main
from sppdet.config.training import TrainConfig


@pytest.fixture
def config(shapes, tmp_path) -> TrainConfig:
    return train_config(shapes, tmp_path / "run")


@pytest.fixture
def own_data(shapes, tmp_path) -> Path:
    """A copy of the set whose lists and annotations may be changed."""
    folder = tmp_path / "own"
    shutil.copytree(shapes, folder)
    return folder


@pytest.fixture
def small(config) -> TrainConfig:
    """On the first six images."""
    return replace(config, data=replace(config.data, max_images=6))


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("warm")


@pytest.fixture
def warm_cache(shared_cache, monkeypatch) -> None:
    """Proposals and features that tests share: search takes most of their time."""
    monkeypatch.setenv("SPPDET_CACHE", str(shared_cache))


@pytest.fixture(scope="session")
def tuned(trained, tmp_path_factory) -> Path:
    """A run like `spp` of `trained` that fine-tunes."""
    run = tmp_path_factory.mktemp("tuned")
    assert main([*train_arguments(trained, run), *TUNED]) == 0
    return run
