"""The package works where nothing can be written, next to it or in the home folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sppdet

CODE = """
import torch
from sppdet.boxes import nms
from sppdet.heads import svm
from sppdet.pooling import kernels
from sppdet.proposals import selective_search
boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
print(nms(boxes, torch.tensor([1.0, 2, 3]), torch.zeros(3, dtype=torch.int64), 0.5, 10).tolist())
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of the package in whose folders numba cannot make its own, not even as root."""
    folder = tmp_path / "site"
    shutil.copytree(Path(sppdet.__file__).parent, folder / "sppdet", ignore=shutil.ignore_patterns("__pycache__"))
    for inside in [path for path in (folder / "sppdet").rglob("*") if path.is_dir()] + [folder / "sppdet"]:
        (inside / "__pycache__").write_text("a file")
    return folder


@pytest.mark.parametrize("cache", [False, True])
def test_kernels_are_compiled(package, tmp_path, cache):
    given = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_CACHE", "XDG", "SPPDET"))}
    given |= {"PYTHONPATH": str(package), "HOME": os.devnull} | ({"SPPDET_CACHE": str(tmp_path / "c")} if cache else {})
    command = [sys.executable, "-c", CODE]
    ended = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert ended.stdout == "[2, 1]\n", ended.stderr
    if cache:
        assert ended.stderr == ""
        assert list(tmp_path.glob("c/numba/**/*.nbc"))
    else:
        (line,) = ended.stderr.splitlines()
        assert "NUMBA_CACHE_DIR" in line
