"""The paper's table of detection results, row by row (SPPnet, section 4.3): which part of the recipe gives how much.

A row names where the heads stand and what was done before: pool5, fc6 or fc7, `ft` in front where the network was
fine-tuned, `+bb` behind with box regression. A column is a kind of features. Each cell is a training in a folder of its
own, so that the same command goes on where it was stopped; what several cells compute alike is in the cache.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from sppdet.commands.runs import detect_dataset
from sppdet.data.dataset import read_dataset
from sppdet.errors import ConfigError
from sppdet.evaluation.results import write_coco_results
from sppdet.evaluation.voc import evaluate_voc
from sppdet.storage import read_json, write_json
from sppdet.training.config import TrainConfig
from sppdet.training.stages import claim, train

ROWS = ("pool5", "fc6", "ftfc6", "ftfc7", "ftfc7+bb")
COLUMNS = ("1 scale", "5 scales", "R-CNN")
FIVE_SCALES = (480, 576, 688, 864, 1200)
DEPTHS = {"pool5": 0, "fc6": 1, "fc7": 2}

# VOC07 mAP in percent on the whole of VOC2007: ZF-5 for SPPnet, Alex-5 for R-CNN.
PAPER: Mapping[str, tuple[float, float, float]] = {
    "pool5": (43.0, 44.9, 44.2),
    "fc6": (42.5, 44.8, 46.2),
    "ftfc6": (52.3, 53.7, 53.1),
    "ftfc7": (54.5, 55.2, 54.2),
    "ftfc7+bb": (58.0, 59.2, 58.5),
}


@dataclass(frozen=True)
class Cell:
    """VOC07 mAP, a fraction, of each seed, and the seconds that it took, less what was there already."""

    row: str
    column: str
    maps: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def paper(self) -> float | None:
        """The paper's figure, a fraction; None where it has none."""
        return PAPER[self.row][COLUMNS.index(self.column)] / 100 if self.row in PAPER else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        spread = max(self.maps) - min(self.maps)
        values = {"map_voc07": mean(self.maps), "spread": spread, "maps": self.maps, "seconds": self.seconds}
        return {"row": self.row, "column": self.column, "paper": self.paper, **values}


def ablate(
    config: TrainConfig, rows: Sequence[str], columns: Sequence[str], seeds: Sequence[int], split: str = "test"
) -> list[Cell]:
    """Train and evaluate every cell in folders of `config.output`, on the images of `split`, and write ablation.json.

    `config` gives all that rows and columns do not: the network, the fine-tuning of the `ft` rows, the one scale.
    Raises ConfigError, before anything is trained, for rows, columns and settings that are not there.
    """
    if config.data.annotations:
        raise ConfigError("works on splits", field="data.annotations", expected="VOC format", got="COCO format")
    read_dataset(replace(config.data, split=split, images=None))
    trainings = {(row, column): configure(config, row, column) for row in rows for column in columns}
    cells = []
    for (row, column), settings in trainings.items():
        done = [_run(replace(settings, seed=seed), row, column, seed, split) for seed in seeds]
        cells.append(Cell(row, column, tuple(one for one, _ in done), tuple(seconds for _, seconds in done)))
        write_json(Path(config.output) / "ablation.json", [cell.as_dict() for cell in cells])
    return cells


def configure(config: TrainConfig, row: str, column: str) -> TrainConfig:
    """The training of a cell, box regression included."""
    match = re.fullmatch(r"(ft)?(pool5|fc6|fc7)(\+bb)?", row)
    if match is None:
        expected = "pool5, fc6 or fc7, with ft before where fine-tuned and +bb behind with box regression"
        raise ConfigError("no such row", field="rows", expected=expected, got=row)
    if column not in COLUMNS:
        raise ConfigError("no such column", field="columns", expected=", ".join(COLUMNS), got=column)
    tuned, depth = match[1] is not None, DEPTHS[match[2]]
    if tuned and not config.finetune.epochs:
        raise ConfigError(f"needed by row {row}", field="finetune.epochs", expected="at least 1", got=0)
    if column == "1 scale" and len(config.spp.scales) != 1:
        raise ConfigError(
            "not one scale", field="spp.scales", expected="the one of column 1 scale", got=config.spp.scales
        )
    return replace(
        config,
        features="crop" if column == "R-CNN" else "spp",
        layers=replace(config.layers, depth=depth),
        spp=replace(config.spp, scales=FIVE_SCALES) if column == "5 scales" else config.spp,
        finetune=config.finetune if tuned else replace(config.finetune, epochs=0),
        box_regression=replace(config.box_regression, enabled=True),
    )


def _run(config: TrainConfig, row: str, column: str, seed: int, split: str) -> tuple[float, float]:
    """Train and evaluate, or read what an earlier run came to: mAP and seconds."""
    shared = row.removesuffix("+bb")  # rows that differ in box regression only share a training
    folder = Path(config.output) / f"{column.replace(' ', '-')}-{shared}-seed{seed}"
    file = folder / f"{split}-{row}.json"
    config = replace(config, output=str(folder))
    claim(folder, config)
    if not file.is_file():
        start = time.perf_counter()
        detector = train(config)
        if not row.endswith("+bb"):
            detector = detector.without_box_regression()
        dataset = read_dataset(replace(config.data, split=split, images=None), detector.classes)
        found = detect_dataset(config.output, detector, dataset, config.workers)
        result = evaluate_voc(found, dataset.images, dataset.classes)
        write_coco_results(folder / f"{split}-{row}-detections.json", found, dataset)
        write_json(file, {"seconds": time.perf_counter() - start, **result.as_dict()})
    values = read_json(file)
    return values["map_voc07"], values["seconds"]


def format_ablation(cells: Sequence[Cell]) -> str:
    """The table as plain text: ours in percent, with the spread over seeds, and the paper's in brackets."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    lines = ["VOC07 mAP, % (paper)".ljust(24) + "".join(f"{column:>24}" for column in columns)]
    for row, group in itertools.groupby(cells, key=lambda cell: cell.row):
        lines.append(row.ljust(24) + "".join(f"{_format(cell):>24}" for cell in group))
    return "\n".join(lines)


def _format(cell: Cell) -> str:
    spread = f" ±{50 * (max(cell.maps) - min(cell.maps)):.1f}" if len(cell.maps) > 1 else ""
    paper = "" if cell.paper is None else f" ({100 * cell.paper:.1f})"
    return f"{100 * mean(cell.maps):.1f}{spread}{paper}"
