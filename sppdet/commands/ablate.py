"""The paper's table of detection results, row by row (SPPnet, section 4.3): which part of the recipe gives how much.

A row names where the heads stand and what was done before: pool5, fc6 or fc7, `ft` in front where the network was
fine-tuned, `+bb` behind with box regression. A column is a kind of features. Each cell is a training in a folder of its
own, so that the same command goes on where it was stopped; what several cells compute alike is in the cache.
"""

from __future__ import annotations

import itertools
import logging
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sppdet.comparison.paper import COLUMNS, DETECTION_MAP, FIVE_SCALES
from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.data.detection_files import read_results, write_coco_results
from sppdet.data.voc import VOC_CLASSES
from sppdet.detector import Detector
from sppdet.drawing.tables import align
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import BootstrapMAP, bootstrap_map
from sppdet.features.extractor import map_features
from sppdet.files.atomic import read_json, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.proposals.cache import propose
from sppdet.runtime.memory import trim_memory
from sppdet.structures import Dataset, Detections
from sppdet.training.train import train

logger = logging.getLogger(__name__)

ROWS = tuple(DETECTION_MAP)
DEPTHS = {"pool5": 0, "fc6": 1, "fc7": 2}


@dataclass(frozen=True)
class Cell:
    """A row and a column: what came of each seed, on the same test images, and the seconds of its training and
    detection, less what was there already; rows that differ in box regression only share both. paper: the paper's mAP,
    a fraction; None where it has none, and for data of other classes than VOC's."""

    row: str
    column: str
    runs: tuple[BootstrapMAP, ...]
    seconds: tuple[float, ...]
    paper: float | None = None

    @property
    def mean(self) -> BootstrapMAP:
        """The mean of the seeds."""
        return BootstrapMAP.mean(self.runs)

    @property
    def maps(self) -> tuple[float, ...]:
        """VOC07 mAP, a fraction, of each seed."""
        return tuple(run.map_voc07 for run in self.runs)

    @property
    def std(self) -> float | None:
        """Standard deviation of these; None for one seed."""
        return statistics.stdev(self.maps) if len(self.maps) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = {"std": self.std, "maps": self.maps, "seconds": self.seconds}
        return {"row": self.row, "column": self.column, "paper": self.paper, **self.mean.as_dict(), **values}


def ablate(
    config: TrainConfig, rows: Sequence[str], columns: Sequence[str], seeds: Sequence[int], split: str = "test"
) -> list[Cell]:
    """Train and evaluate every cell in folders of `config.output`, on the images of `split`, and write ablation.json.

    `config` gives all that rows and columns do not: the network, the one scale, and for the `ft` rows the fine-tuning
    (of all columns at `finetune.scales`, where these are given) and the kind of head; the others have SVMs.
    Raises ConfigError, before anything is trained, for rows, columns and settings that are not there.
    """
    if not seeds:
        raise ConfigError("none given", field="seeds", expected="at least one", got="[]")
    if config.features in ("roi_pool", "roi_align"):
        raise ConfigError("columns say which features", field="features", expected="spp or crop", got=config.features)
    if config.data.annotations:
        raise ConfigError("works on splits", field="data.annotations", expected="VOC format", got="COCO format")
    classes = read_dataset(config.data).classes
    test = read_dataset(replace(config.data, split=split, max_images=None), classes)
    trainings = {(row, column): configure(config, row, column) for row in rows for column in columns}
    cells: list[Cell] = []
    for number, ((row, column), settings) in enumerate(trainings.items(), start=1):
        logger.info("cell %d of %d: %s, %s", number, len(trainings), row, column)
        done = [_run(replace(settings, seed=seed), row, column, seed, test, split) for seed in seeds]
        runs, seconds = zip(*done, strict=True)
        cells.append(Cell(row, column, runs, seconds, _of_paper(row, column, classes)))
        write_json(Path(config.output) / "ablation.json", ablation_as_dict(cells))
    return cells


def ablation_as_dict(cells: Sequence[Cell]) -> dict[str, Any]:
    """JSON-ready."""
    return {"cells": [cell.as_dict() for cell in cells], "differences": differences(cells)}


def differences(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """By how much the mean of a cell's seeds is above that of the row before, and that of the first column, with paired
    intervals over the test images; the seeds are what they are."""
    found = []
    for cell in cells:
        of_column = [other for other in cells if other.column == cell.column]
        of_row = [other for other in cells if other.row == cell.row]
        for other in of_column[: of_column.index(cell)][-1:] + of_row[: of_row.index(cell)][:1]:
            difference = cell.mean.minus(other.mean).as_dict()
            names = {"row": cell.row, "column": cell.column, "to_row": other.row, "to_column": other.column}
            found.append(names | difference)
    return found


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
        fc=replace(config.fc, depth=depth),
        spp=replace(config.spp, scales=FIVE_SCALES) if column == "5 scales" else config.spp,
        finetune=config.finetune if tuned else replace(config.finetune, epochs=0),
        head=config.head if tuned else "svm",
        box_regression=replace(config.box_regression, enabled=True),
    )


def _of_paper(row: str, column: str, classes: Sequence[str]) -> float | None:
    return (
        DETECTION_MAP[row][COLUMNS.index(column)] if row in DETECTION_MAP and set(classes) == set(VOC_CLASSES) else None
    )


def _run(
    config: TrainConfig, row: str, column: str, seed: int, test: Dataset, split: str
) -> tuple[BootstrapMAP, float]:
    """Train and evaluate, or read what an earlier run came to: mAP and seconds."""
    shared = row.removesuffix("+bb")  # rows that differ in box regression only share a training
    folder = Path(config.output) / f"{column.replace(' ', '-')}-{shared}-seed{seed}"
    file = folder / f"{split}-{row}-detections.json"
    config = replace(config, output=str(folder))
    RunFolder(folder).check_config(config)
    start = time.perf_counter()
    if not file.is_file():
        for end, found in _detect(train(config), test, config.workers).items():
            name = f"{split}-{shared}{end}"
            if not (folder / f"{name}-detections.json").is_file():
                write_json(folder / f"{name}.json", {"seconds": time.perf_counter() - start})
                write_coco_results(folder / f"{name}-detections.json", found, test)  # last: this row is done
    result = bootstrap_map(read_results(file, test), test.images, test.classes)
    return result, read_json(folder / f"{split}-{row}.json")["seconds"]


def _detect(detector: Detector, test: Dataset, workers: int) -> dict[str, list[Detections]]:
    """What is found in the test images without box regression and, as "+bb", with it, from the same features."""
    plain = detector.without_box_regression()
    proposals = propose(test.images, detector.config.proposals, workers)
    found: dict[str, list[Detections]] = {"": [], "+bb": []}
    pairs = zip(test.images, proposals, strict=True)
    for image, boxes in trim_memory(tqdm(pairs, desc="detect", unit="image", total=len(proposals))):
        encoded = detector.encode(image.read())
        with torch.inference_mode():
            outputs = map_features(encoded.image, boxes, detector.apply_heads)
        found[""].append(plain.detections(outputs, boxes, encoded.size))
        found["+bb"].append(detector.detections(outputs, boxes, encoded.size))
    return found


def format_ablation(cells: Sequence[Cell]) -> str:
    """The table as plain text: ours in percent, with the standard deviation over seeds, and the paper's in brackets;
    below it the differences, and what the figures mean."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    beside = " (paper, VOC2007)" if any(cell.paper for cell in cells) else ""
    rows = [[f"VOC07 mAP, %{beside}", *columns]]
    for row, group in itertools.groupby(cells, key=lambda cell: cell.row):
        rows.append([row, *map(_format, group)])
    table = align(rows)
    lines = [
        [f"{one['row']}, {one['column']}, to {one['to_row']}, {one['to_column']}", _format_difference(one)]
        for one in differences(cells)
    ]
    parts = [table]
    if lines:
        parts.append(align([["differences, means of the seeds", "points (95%)"], *lines]))
    if any(len(cell.runs) > 1 for cell in cells):
        parts.append("±: standard deviation over the seeds; 95%: of the choice of test images, not of the seed")
    return "\n\n".join(parts)


def _format(cell: Cell) -> str:
    spread = "" if cell.std is None else f" ±{100 * cell.std:.1f}"
    paper = "" if cell.paper is None else f" ({100 * cell.paper:.1f})"
    return f"{100 * cell.mean.map_voc07:.1f}{spread}{paper}"


def _format_difference(difference: Mapping[str, Any]) -> str:
    low, high = difference["interval"]["map_voc07"]
    return f"{100 * difference['map_voc07']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
