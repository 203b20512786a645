"""Commands started by torchrun, and the training that they are to repeat."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sppdet.detector import Detector

TUNED = ("--finetune.epochs", "2", "--finetune.blocks", "2", "--finetune.regions_per_image", "16")


def launch(
    cache: Path, ranks: int, *arguments: str, options: Sequence[str] = ("--standalone",), host: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start a command under torchrun. host: words before the command, which carry it out elsewhere."""
    launcher = ["-m", "torch.distributed.run", *options, "--nproc-per-node", str(ranks), "-m", "sppdet"]
    given = {**os.environ, "SPPDET_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [*host, sys.executable, *launcher, *arguments]
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_same(one: Path, other: Path) -> None:
    """Check that two runs have the same files and, up to rounding, the same heads."""
    names = [sorted(file.name for file in run.iterdir() if file.is_file()) for run in (one, other)]
    assert names[0] == names[1]
    heads = [Detector.load(run).heads for run in (one, other)]
    assert torch.allclose(heads[0].weight, heads[1].weight, rtol=0.01, atol=1e-5)
