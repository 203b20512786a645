"""The runs of the fixture `trained`, as they are and as copies that may be changed."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sppdet.commands import demo
from sppdet.comparison import throughput
from sppdet.shapes.pretrain import Pretraining


@pytest.fixture
def place(trained, monkeypatch) -> Path:
    """The fixture `trained`, and its cache in place of an empty one."""
    monkeypatch.setenv("SPPDET_CACHE", str(trained / "cache"))
    return trained


@pytest.fixture
def run(place, tmp_path) -> Path:
    """A copy of the trained SPPnet run."""
    return Path(shutil.copytree(place / "spp", tmp_path / "spp"))


@pytest.fixture
def other(place, tmp_path) -> Path:
    """A copy of the trained R-CNN run."""
    return Path(shutil.copytree(place / "crop", tmp_path / "crop"))


@pytest.fixture
def data(place) -> tuple[object, ...]:
    """The options that name the data."""
    return "--data.root", place / "shapes", "--workers", 0


@pytest.fixture
def small_demo(monkeypatch) -> None:
    """A few images, one short epoch and a few regions in place of the real demonstration."""
    size = demo.Size(train=10, test=6, timed=1, regions=16)
    monkeypatch.setattr(demo, "SHAPES", size)
    monkeypatch.setattr(demo, "REAL", size)
    monkeypatch.setattr(throughput, "BATCH_SIZES", {"cpu": (4,)})
    monkeypatch.setattr(throughput, "MIN_TIMED_CROPS", 4)
    short = replace(Pretraining().fit, epochs=1)
    monkeypatch.setattr("sppdet.shapes.pretrain.Pretraining", partial(Pretraining, fit=short, sizes=(48,)))
