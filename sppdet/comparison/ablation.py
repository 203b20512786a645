"""An ablation: the cells of the paper's table of detection results (SPPnet, table 9), trained and set beside theirs."""

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sppdet.comparison.paper import COLUMNS, DETECTION_MAP, FIVE_SCALES
from sppdet.config.training import TrainConfig
from sppdet.data.formats.voc import VOC_CLASSES
from sppdet.data.results.files import read_results, write_coco_results
from sppdet.detector import Detector
from sppdet.drawing.tables import align, with_interval
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import BootstrapMAP, Seeds, bootstrap_map
from sppdet.files.atomic import read_json, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.postprocess import postprocess
from sppdet.proposals.cache import propose
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.progress import progress
from sppdet.structures import Dataset, Detections
from sppdet.training.train import train


@dataclass(frozen=True)
class Cell(Seeds):
    """One row (stage of the recipe, such as ftfc7+bb) and column (kind of features, such as 5 scales) of the table.

    runs: mAP of each seed on the same test images. seconds: time of training and detection for each seed, less what was
    already cached; rows that differ only in box regression share both. paper: the result of `paper_map`.
    """

    row: str
    column: str
    runs: tuple[BootstrapMAP, ...]
    seconds: tuple[float, ...]
    paper: float | None = None

    @property
    def mean(self) -> BootstrapMAP:
        """Mean mAP over the seeds."""
        return BootstrapMAP.mean(self.runs)

    def as_dict(self) -> dict[str, Any]:
        values = {"std": self.std, "maps": self.maps, "seconds": self.seconds}
        return {"row": self.row, "column": self.column, "paper": self.paper, **self.mean.as_dict(), **values}

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ±{100 * self.std:.1f}"
        paper = "" if self.paper is None else f" ({100 * self.paper:.1f})"
        return f"{100 * self.mean.map_voc07:.1f}{spread}{paper}"


@dataclass(frozen=True)
class Ablation:
    """The cells that were measured, row by row; its text is the table, in percent, with the paper's figures."""

    cells: Sequence[Cell]
    folder: str

    @property
    def differences(self) -> list[tuple[Cell, Cell, BootstrapMAP]]:
        """Each cell, the one before it in its column or the first in its row, and its mean minus the other's.

        The paired intervals are over the test images and do not include the variance over seeds.
        """
        pairs = []
        for cell in self.cells:
            column = [other for other in self.cells if other.column == cell.column]
            row = [other for other in self.cells if other.row == cell.row]
            others = column[: column.index(cell)][-1:] + row[: row.index(cell)][:1]
            pairs += [(cell, other, cell.mean.minus(other.mean)) for other in others]
        return pairs

    def as_dict(self) -> dict[str, Any]:
        differences = [
            {"row": cell.row, "column": cell.column, "to_row": other.row, "to_column": other.column, **maps.as_dict()}
            for cell, other, maps in self.differences
        ]
        return {"cells": [cell.as_dict() for cell in self.cells], "differences": differences}

    def __str__(self) -> str:
        columns = list(dict.fromkeys(cell.column for cell in self.cells))
        paper = " (paper, VOC2007)" if any(cell.paper for cell in self.cells) else ""
        rows = itertools.groupby(self.cells, key=lambda cell: cell.row)
        parts = [align([[f"VOC07 mAP, %{paper}", *columns], *([row, *map(str, cells)] for row, cells in rows)])]
        lines = [["differences, means of the seeds", "points (95%)"]]
        for cell, other, maps in self.differences:
            points = with_interval(maps.map_voc07, maps.interval_voc07, "+")
            lines.append([f"{cell.row}, {cell.column}, to {other.row}, {other.column}", points])
        if self.differences:
            parts.append(align(lines))
        if any(len(cell.runs) > 1 for cell in self.cells):
            parts.append("±: standard deviation over the seeds; 95%: of the choice of test images, not of the seed")
        return "\n\n".join(parts) + f"\nwritten to {self.folder}/ablation.json"


def configure_cell(config: TrainConfig, row: str, column: str) -> TrainConfig:
    """Return the configuration of a cell's training, box regression included.

    Raises ConfigError for unknown rows and columns, and for settings that do not suit them.
    """
    match = re.fullmatch(r"(ft)?(pool5|fc6|fc7)(\+bb)?", row)
    if match is None:
        expected = "pool5, fc6 or fc7, with ft in front if fine-tuned and +bb at the end with box regression"
        raise ConfigError("no such row", field="rows", expected=expected, got=row)
    if column not in COLUMNS:
        raise ConfigError("no such column", field="columns", expected=tuple(COLUMNS), got=column)
    tuned, depth = match[1] is not None, ("pool5", "fc6", "fc7").index(match[2])
    if tuned and not config.finetune.epochs:
        raise ConfigError(f"needed by row {row}", field="finetune.epochs", expected="at least 1", got=0)
    if column == "1 scale" and len(config.spp.scales) != 1:
        expected = "the scale of column 1 scale"
        raise ConfigError("not one scale", field="spp.scales", expected=expected, got=config.spp.scales)
    return replace(
        config,
        features="crop" if column == "R-CNN" else "spp",
        fc=replace(config.fc, depth=depth),
        spp=replace(config.spp, scales=FIVE_SCALES) if column == "5 scales" else config.spp,
        finetune=config.finetune if tuned else replace(config.finetune, epochs=0),
        head=config.head if tuned else "svm",
        box_regression=replace(config.box_regression, enabled=True),
    )


def evaluate_cell(
    config: TrainConfig, row: str, column: str, seeds: Sequence[int], test: Dataset, test_split: str
) -> Cell:
    """Train and evaluate a cell, once per seed, in folders of its own under `config.output`.

    `config` is the one that `configure_cell` returned. Files of earlier calls on these images and annotations, by
    content, are read instead.
    """
    runs, seconds, data = [], [], test.key()
    shared = row.removesuffix("+bb")  # rows that differ only in box regression share a training
    for seed in seeds:
        folder = Path(config.output) / f"{column.replace(' ', '-')}-{shared}-seed{seed}"
        one = replace(config, seed=seed, output=str(folder))
        RunFolder(folder).check_config(one)
        start = time.perf_counter()
        if not _is_done(folder, f"{test_split}-{row}", data):
            for end, detections in _detect(train(one), test, one.workers).items():
                name = f"{test_split}-{shared}{end}"
                if not _is_done(folder, name, data):
                    (folder / f"{name}-detections.json").unlink(missing_ok=True)
                    write_json(folder / f"{name}.json", {"seconds": time.perf_counter() - start, "data": data})
                    # Last: it marks the row as done.
                    write_coco_results(folder / f"{name}-detections.json", detections, test)
        found = read_results(folder / f"{test_split}-{row}-detections.json", test)
        runs.append(bootstrap_map(found, test.images, test.classes))
        seconds.append(read_json(folder / f"{test_split}-{row}.json")["seconds"])
    return Cell(row, column, tuple(runs), tuple(seconds), paper_map(row, column, test.classes))


def _is_done(folder: Path, name: str, data: str) -> bool:
    """Return True if the folder has detections of this data set, or of an unknown one of an earlier version."""
    files = [folder / f"{name}.json", folder / f"{name}-detections.json"]
    return all(file.is_file() for file in files) and read_json(files[0]).get("data", data) == data


def paper_map(row: str, column: str, classes: Sequence[str]) -> float | None:
    """Return the paper's mAP of a cell, a fraction; None if it has none, or for classes other than VOC's."""
    known = row in DETECTION_MAP and set(classes) == set(VOC_CLASSES)
    return DETECTION_MAP[row][COLUMNS.index(column)] if known else None


def _detect(detector: Detector, test: Dataset, workers: int) -> dict[str, list[Detections]]:
    """Return the detections without box regression and, as "+bb", with it, from the same features."""
    plain = detector.heads.without_box_regression()
    proposals = propose(test.images, detector.config.proposals, workers)
    detections: dict[str, list[Detections]] = {"": [], "+bb": []}
    pairs = zip(test.images, proposals, strict=True)
    for image, boxes in trim_memory(progress(pairs, "detect", len(proposals))):
        encoded = detector.encode(image.read())
        outputs = encoded.outputs(boxes)
        for row, heads in (("", plain), ("+bb", detector.heads)):
            detections[row].append(postprocess(heads, outputs, boxes, encoded.size, detector.config.selection))
    return detections
