"""Files of an interrupted run: a training goes on from them to the same detector, or says what to remove."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from factories import train_config

from sppdet.config.data import DataConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.errors import SppdetError
from sppdet.files.run_folder import RunFolder
from sppdet.shapes.dataset import generate_shapes
from sppdet.training.train import train
from torture.models import damage_tensors
from torture.mutate import change_json
from torture.target import Case, Target

SVM = ("heads-train.safetensors", "heads-all.safetensors", "mined.safetensors")
JSON = ("data.json", "config.json", "images.json", "val.json", ".sppdet/owner.json")
TUNED = ("heads-start.safetensors", "finetuned-train.safetensors", "finetuned-all.safetensors")


def targets() -> list[Target]:
    names = [(name, False) for name in (*SVM, *JSON)] + [(name, True) for name in TUNED]
    return [
        Target(f"run-{Path(name).name}", lambda folder, name=name, tuned=tuned: _prepare(folder, name, tuned))
        for name, tuned in names
    ]


def small_config(place: Path, tuned: bool) -> TrainConfig:
    """A training on six images that is made next to its data."""
    if not (place / "shapes").is_dir():
        generate_shapes(place / "shapes", train=6, test=1)
    config = replace(train_config(place / "shapes", place / "run"), device="cpu")
    return replace(config, head="softmax", finetune=FinetuneConfig(1, blocks=1)) if tuned else config


def _prepare(folder: Path, name: str, tuned: bool) -> Case:
    os.environ["SPPDET_CACHE"] = str(folder.parent / "cache")
    config = small_config(folder, tuned)
    train(config)
    expected = Path(config.output, "detector.safetensors").read_bytes()
    Path(config.output, "detector.safetensors").unlink()
    shutil.copytree(config.output, folder / "begun")
    original = Path(folder, "begun", name).read_bytes()

    def read(data: bytes) -> None:
        shutil.rmtree(config.output)
        shutil.copytree(folder / "begun", config.output)
        Path(config.output, name).write_bytes(data)
        read_quietly(config.output)
        try:
            train(config)
        except SppdetError as error:
            named = Path(str(error.file))
            if not named.is_file():
                raise
            named.unlink()
            train(config)
            assert Path(config.output, "detector.safetensors").read_bytes() == expected, f"another one without {named}"
            raise
        assert Path(config.output, "detector.safetensors").read_bytes() == expected, "another detector"

    change = damage_tensors if Path(name).suffix == ".safetensors" else change_json
    return Case(lambda rng: change(original, rng), read)


def read_quietly(output: str) -> None:
    """What commands read of a run; each is refused on its own."""
    run = RunFolder(output)
    calls: list[Callable[[], object]] = [
        *(run.load_data, lambda: run.load_config(TrainConfig), lambda: run.trained_on(["a"])),
        *(lambda: run.find("detector"), lambda: run.evaluation(DataConfig(root="data"))),
    ]
    for call in calls:
        try:
            call()
        except SppdetError:
            continue
