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
    cache: Path,
    ranks: int,
    *arguments: str,
    options: Sequence[str] = ("--standalone",),
    host: Sequence[str] = (),
    program: Sequence[str] = ("-m", "sppdet"),
) -> subprocess.Popen[str]:
    """Start a command under torchrun. host: words before the command, which carry it out elsewhere."""
    launcher = ["-m", "torch.distributed.run", *options, "--nproc-per-node", str(ranks), *program]
    given = {**os.environ, "SPPDET_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [*host, sys.executable, *launcher, *arguments]
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_same(one: Path, other: Path, within: float = 1e-4) -> None:
    """Check that two runs have the same files and heads that differ by at most a fraction `within` of their length.

    Sums of gradients differ in their last digits, and these decide where in its gap a fit of SVMs ends: 0.05 for them.
    """
    names = [sorted(file.name for file in run.iterdir() if file.is_file()) for run in (one, other)]
    assert names[0] == names[1]
    weights = [Detector.load(run).heads.weight for run in (one, other)]
    assert torch.linalg.norm(weights[0] - weights[1]) <= within * torch.linalg.norm(weights[0])
