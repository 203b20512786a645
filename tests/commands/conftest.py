"""The runs of the fixture `trained`, as they are and as copies that may be changed."""

import shutil
from pathlib import Path

import pytest


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
