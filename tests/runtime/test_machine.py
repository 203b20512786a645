"""The description of the machine."""

import os
import platform
import subprocess
import sys

import numba
import pytest
import torch
from benchmark.machine import describe_machine

from sppdet.runtime import memory
from sppdet.runtime.machine import processor_name
from sppdet.runtime.memory import trim_memory


def test_the_machine_is_described_and_a_processor_always_has_a_name(monkeypatch, tmp_path):
    facts = describe_machine()
    assert facts["processor"] == processor_name()
    assert 1 <= facts["cores"] <= os.cpu_count()
    assert facts["python"] == platform.python_version()
    assert torch.__version__.startswith(facts["torch"])
    assert facts["numba"] == numba.__version__
    assert processor_name()
    monkeypatch.setattr("sppdet.runtime.machine.Path", lambda _: tmp_path / "none")
    assert processor_name() == (platform.processor() or platform.machine())


KEEPING = """
import numpy as np
from benchmark.memory import anonymous_memory
from sppdet.runtime.memory import keep_freed_memory, release_freed_memory
keep_freed_memory()
before = anonymous_memory()
block = np.ones(200_000_000, np.uint8)
del block
assert anonymous_memory() - before > 150_000_000
release_freed_memory()
assert anonymous_memory() - before < 50_000_000
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_is_kept_until_it_is_released():
    """In a process of its own: the memory of another may have no room to grow in one piece."""
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", KEEPING], env=paths).returncode == 0


def test_memory_is_given_back_now_and_then(monkeypatch):
    given_back = []
    monkeypatch.setattr(memory, "release_freed_memory", lambda: given_back.append(len(seen)))
    seen: list[int] = []
    for item in trim_memory(range(70)):
        seen.append(item)
    assert seen == list(range(70))
    assert given_back == [32, 64]
