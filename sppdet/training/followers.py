"""Ranks beside the first one: each trains in a copy of the run's folder, and finds there what the first one finds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch

from sppdet.config.classification import TrainClassifierConfig
from sppdet.config.training import TrainConfig
from sppdet.errors import SppdetError
from sppdet.files.atomic import content_key
from sppdet.files.owned import MARK
from sppdet.files.run_folder import RunFolder
from sppdet.runtime.ranks import exchange, meet, rank, world

Config = TypeVar("Config", TrainConfig, TrainClassifierConfig)


@contextmanager
def follow(config: Config) -> Iterator[Config]:
    """Give the configuration of this rank's training, whose folder is a copy on all ranks but the first."""
    if rank() == 0:
        yield config
        return
    with TemporaryDirectory(prefix="sppdet-rank-") as folder:
        meet()  # the first rank holds the run
        copy, run = Path(folder), Path(config.output)
        for file in run.iterdir() if run.is_dir() else ():
            if file.is_file():
                shutil.copy2(file, copy)
        (copy / MARK).mkdir()
        (copy / "features").symlink_to(run.resolve() / "features")  # which all ranks fill
        meet()
        yield replace(config, output=folder, tensorboard=False)


def begin(run: RunFolder) -> None:
    """Let the other ranks copy the folder of the run, in which this one trains now.

    Raises SppdetError on a rank that sees another folder there.
    """
    if world() == 1:
        return
    if rank() == 0:
        meet()
        meet()
    names = content_key(sorted(file.name for file in run.path.iterdir() if file.is_file()))
    seen = exchange({"names": torch.tensor(list(names.encode()))})
    if not seen[rank()]["names"].equal(seen[0]["names"]):
        expected = "a folder that all machines see"
        raise SppdetError("other files than rank 0 finds", file=run.path, field="output", expected=expected)
