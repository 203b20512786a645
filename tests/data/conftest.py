import logging

import pytest


@pytest.fixture(autouse=True)
def warnings_only(caplog) -> None:
    """The log of a test holds warnings, though a command run in the same process has asked for more."""
    caplog.handler.setLevel(logging.WARNING)
