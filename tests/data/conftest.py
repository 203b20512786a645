import logging
from pathlib import Path

import pytest
from data_sets import write_voc


@pytest.fixture(autouse=True)
def warnings_only(caplog) -> None:
    """The log of a test holds warnings, though a command run in the same process has asked for more."""
    caplog.handler.setLevel(logging.WARNING)


@pytest.fixture
def voc(tmp_path) -> Path:
    return write_voc(tmp_path / "voc")
