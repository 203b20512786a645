"""Train a detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sppdet.config.training import TrainConfig


@dataclass(frozen=True)
class TrainedRun:
    """A run folder with a trained detector. held_out: its evaluation on the held-out images, before the last fit."""

    folder: str
    classes: tuple[str, ...]
    held_out: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"detector of {len(self.classes)} classes in {self.folder}"


def train(config: TrainConfig) -> TrainedRun:
    """Train a detector; repeat the command to resume an interrupted training.

    Parameters come from --config; options such as --features crop --svm.C 0.01 override it wherever they stand.

    JSON: folder; classes; held_out (images, map_voc07, map_area and per_class on the images held out to choose
    thresholds).

    Args:
        config: YAML file of these parameters, such as configs/sppnet_voc07.yaml
    """
    from pathlib import Path

    from sppdet.files.atomic import read_json
    from sppdet.training.train import train as train_detector

    detector = train_detector(config)
    return TrainedRun(config.output, detector.classes, read_json(Path(config.output) / "val.json"))
