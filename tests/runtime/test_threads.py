"""Threads wait without spinning, unless the user wants it otherwise."""

import os
import subprocess
import sys

import pytest

from sppdet.runtime.threads import PASSIVE, wait_passively


def test_a_setting_of_the_user_wins(monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    wait_passively()
    assert os.environ == {**PASSIVE, "OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "200"}])
def test_commands_wait_passively_from_before_torch_is_loaded(given):
    code = (
        "import os, sys; from sppdet.__main__ import main; sys.argv = ['sppdet']; main();"
        f"print(*[os.environ[name] for name in {list(PASSIVE)}], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE} | given
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [*(PASSIVE | given).values(), "False"]
