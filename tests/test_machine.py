"""What is said of the machine."""

from __future__ import annotations

import os
import platform

import numba
import torch

from sppdet.machine import describe_machine, processor_name


def test_the_machine_is_described():
    facts = describe_machine()
    assert facts["processor"] == processor_name()
    assert 1 <= facts["cores"] <= os.cpu_count()
    assert facts["python"] == platform.python_version()
    assert torch.__version__.startswith(facts["torch"])
    assert facts["numba"] == numba.__version__


def test_a_processor_always_has_a_name(monkeypatch, tmp_path):
    assert processor_name()
    monkeypatch.setattr("sppdet.machine.Path", lambda _: tmp_path / "none")
    assert processor_name() == (platform.processor() or platform.machine())
