"""A small network with random weights."""

import pytest

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.zoo import build_backbone


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return build_backbone("shapenet", "random")
