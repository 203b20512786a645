"""A training on the small generated data set that takes a second."""

from pathlib import Path

import pytest
from factories import train_config

from sppdet.config.training import TrainConfig


@pytest.fixture
def config(shapes, tmp_path) -> TrainConfig:
    return train_config(shapes, tmp_path / "run")


@pytest.fixture
def own_data(shapes, tmp_path) -> Path:
    """A copy of the set whose lists and annotations may be changed; images are linked."""
    folder = tmp_path / "own"
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    (folder / "JPEGImages").symlink_to(shapes / "JPEGImages")
    for part in ("ImageSets/Main", "Annotations"):
        for file in (shapes / part).iterdir():
            (folder / part / file.name).write_bytes(file.read_bytes())
    return folder
