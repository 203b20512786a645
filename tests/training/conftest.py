"""A training on the small generated data set that takes a second."""

from pathlib import Path

import pytest

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, SPPConfig
from sppdet.config.network import BackboneConfig
from sppdet.config.training import SVMConfig, TrainConfig


@pytest.fixture
def config(shapes, tmp_path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(root=str(shapes)),
        backbone=BackboneConfig("shapenet", "random"),
        proposals=ProposalConfig(width=None, limit=30),
        spp=SPPConfig((120,)),
        crop=CropConfig(size=48, context=4),
        svm=SVMConfig(C=0.01),
        output=str(tmp_path / "run"),
        workers=0,
    )


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
