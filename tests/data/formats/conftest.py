"""The content of a COCO file, and its images."""

import copy
from pathlib import Path

import pytest
from data_sets import COCO


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for record in COCO["images"]:
        (folder / record["file_name"]).write_bytes(b"")
    return folder


@pytest.fixture
def content():
    return copy.deepcopy(COCO)
