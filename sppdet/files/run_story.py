"""All that the files in the folder of a run say about it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, walk
from pathlib import Path
from typing import Any

from sppdet.config.classification import TrainClassifierConfig
from sppdet.config.record import as_dict
from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError, SppdetError
from sppdet.files.atomic import read_json
from sppdet.files.metrics import Metrics
from sppdet.files.run_check import check_run
from sppdet.files.run_folder import EXECUTION_KEYS, RunFolder, flatten

# In the order in which they are listed; files are looked up by their names, without what follows a "-".
FILES = {
    "README.md": "model card: result, data, training, the next commands",
    "detector.safetensors": "the detector",
    "classifier.safetensors": "the classifier",
    "config.json": "all settings",
    "results.csv": "a row of each epoch, refit and stage",
    "metrics.jsonl": "the same rows as JSON",
    "labels.png": "the objects trained on: classes, sizes, places",
    "examples.jpg": "positives and hard negatives, with their scores",
    "val.jpg": "held-out images: ground truth beside detections",
    "val.json": "evaluation on the held-out images",
    "split.json": "the division of the images",
    "heads.png": "objective of the SVMs, refit by refit",
    "finetuned.png": "loss of fine-tuning",
    "training.png": "loss of the training",
    "training.json": "loss and accuracy of each epoch",
    "heads.safetensors": "fitted heads (to resume; removable)",
    "mined.safetensors": "examples of the SVMs (to resume; removable)",
    "finetuned.safetensors": "fine-tuned network (to resume; removable)",
    "training.safetensors": "state of the training (to resume)",
    "images.json": "keys of the images trained on",
    "data.json": "hash of the training data",
}


@dataclass(frozen=True)
class Score:
    """Results on some images, fractions by name, such as map_voc07 or top1, and the 95% interval of some of them."""

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    images: int | None

    @property
    def main(self) -> str | None:
        """The name of the result to look at first."""
        return next((name for name in ("map_voc07", "top1") if name in self.values), None)

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, **self.values, "interval": dict(self.intervals)}


class RunStory:
    """A run, read from its folder. Raises ConfigError if it is not one's."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.run = RunFolder(path)
        self.path = self.run.path
        check_run(self.path)
        if not is_run(self.path):
            expected = "one with config.json and data.json"
            raise ConfigError("is not the folder of a run", file=self.path, field="run", expected=expected)
        self.config: dict[str, Any] = _read_object(self.run.config)
        self.kind = "classifier" if "view" in self.config else "detector"
        self.metrics = Metrics(self.path)

    @property
    def finished(self) -> bool:
        return self.run.classifier.is_file() if self.kind == "classifier" else self.run.detector.is_file()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings that decide what the run gives, such as {"svm.C": 0.001}; younger keys at their defaults."""
        every = self._defaults | flatten(self.config)
        return {key: value for key, value in every.items() if key not in EXECUTION_KEYS}

    @property
    def own_settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return {key: value for key, value in self.settings.items() if value != self._defaults.get(key)}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return flatten(as_dict(TrainClassifierConfig() if self.kind == "classifier" else TrainConfig()))

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Results by name: `val` of the training, then those of the folders of evaluations."""
        val = {"val": read_score(self.run.val)} if self.run.val.is_file() else {}
        return {name: score for name, score in (val | read_evaluations(self.path)).items() if score.values}

    @cached_property
    def classes(self) -> list[str]:
        """The classes as val.json has them; empty before there is one."""
        found = _read_object(self.run.val).get("per_class") if self.run.val.is_file() else None
        return [str(name) for name in found] if isinstance(found, dict) else []

    def files(self) -> list[tuple[str, int, str]]:
        """Return name, bytes and meaning of each file, those in subfolders left out, and the name of each of these."""
        order, rows = list(FILES), []
        for file in sorted(self.path.iterdir()):
            kind = file.name if file.name in FILES else f"{file.stem.partition('-')[0]}{file.suffix}"
            place = order.index(kind) if kind in FILES else len(order)
            with suppress(FileNotFoundError):  # removed meanwhile by a training
                if file.is_dir():
                    meaning = "evaluation" if (file / "evaluation.json").is_file() else ""
                    rows.append((place, (f"{file.name}/", 0, meaning)))
                else:
                    rows.append((place, (file.name, file.stat().st_size, FILES.get(kind, ""))))
        return [row for _, row in sorted(rows, key=lambda row: row[0]) if not row[0].startswith(".")]

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": self.path,
            "kind": self.kind,
            "finished": self.finished,
            "classes": self.classes,
            "data": self.config.get("data"),
            "settings": self.own_settings,
            "results": {name: score.as_dict() for name, score in self.scores.items()},
            "minutes": self.metrics.seconds / 60 if self.metrics.rows else None,
            "memory_gb": self.metrics.memory_gb,
            "sessions": self.metrics.session - 1,
            "files": [{"name": name, "bytes": size} for name, size, _ in self.files()],
        }


def read_evaluations(folder: Path) -> dict[str, Score]:
    """Return the results in the folders of evaluations in the folder of a run, by their names."""
    return {file.parent.name: read_score(file) for file in sorted(folder.glob("*/evaluation.json"))}


def is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "data.json").is_file()


def find_runs(folder: str | PathLike[str]) -> Iterator[Path]:
    """Yield the folders of runs at any depth, sorted; links to folders are not followed."""
    for place, names, _ in walk(folder):
        if is_run(Path(place)):
            names.clear()
            yield Path(place)
        names.sort()


def _read_object(file: Path) -> dict[str, Any]:
    value = read_json(file)
    if not isinstance(value, dict):
        raise SppdetError("is damaged", file=file, expected="a JSON object")
    return value


def read_score(file: Path) -> Score:
    """Return the results in an evaluation.json or val.json. Raises SppdetError if it is damaged."""
    values: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    found = _read_object(file)
    every = found.get("interval")
    shared: dict[str, Any] = every if isinstance(every, dict) else {}
    for name in ("map_voc07", "map_area", "top1", "top5"):
        value: Any = found.get(name)
        interval = shared.get(name)
        if isinstance(value, dict):  # accuracy
            interval = value.get("interval")
            value = value.get("mean")
        if isinstance(value, (int, float)):
            values[name] = float(value)
            if isinstance(interval, list) and len(interval) == 2 and all(isinstance(x, (int, float)) for x in interval):
                intervals[name] = (float(interval[0]), float(interval[1]))
    images = found.get("images")
    return Score(values, intervals, images if isinstance(images, int) else None)
