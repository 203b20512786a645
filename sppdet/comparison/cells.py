"""Train and evaluate one cell of an ablation."""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from sppdet.comparison.ablation import Cell
from sppdet.comparison.paper import COLUMNS, DETECTION_MAP, FIVE_SCALES
from sppdet.config.training import TrainConfig
from sppdet.data.detection_files import read_results, write_coco_results
from sppdet.data.voc import VOC_CLASSES
from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import BootstrapMAP, bootstrap_map
from sppdet.features.extractor import apply_to_features
from sppdet.files.atomic import read_json, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.postprocess import postprocess
from sppdet.proposals.cache import propose
from sppdet.runtime.memory import trim_memory
from sppdet.structures import Dataset, Detections
from sppdet.training.train import train

DEPTHS = {"pool5": 0, "fc6": 1, "fc7": 2}


def configure_cell(config: TrainConfig, row: str, column: str) -> TrainConfig:
    """Return the configuration of a cell's training, box regression included.

    Raises ConfigError for unknown rows and columns, and for settings that do not suit them.
    """
    match = re.fullmatch(r"(ft)?(pool5|fc6|fc7)(\+bb)?", row)
    if match is None:
        expected = "pool5, fc6 or fc7, with ft in front if fine-tuned and +bb at the end with box regression"
        raise ConfigError("no such row", field="rows", expected=expected, got=row)
    if column not in COLUMNS:
        raise ConfigError("no such column", field="columns", expected=", ".join(COLUMNS), got=column)
    tuned, depth = match[1] is not None, DEPTHS[match[2]]
    if tuned and not config.finetune.epochs:
        raise ConfigError(f"needed by row {row}", field="finetune.epochs", expected="at least 1", got=0)
    if column == "1 scale" and len(config.spp.scales) != 1:
        raise ConfigError(
            "not one scale", field="spp.scales", expected="the scale of column 1 scale", got=config.spp.scales
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


def evaluate_cell(
    config: TrainConfig, row: str, column: str, seeds: Sequence[int], test: Dataset, test_split: str
) -> Cell:
    """Train and evaluate a cell, once per seed, in folders of its own under `config.output`.

    `config` is the one that `configure_cell` returned. Files of earlier calls are read instead.
    """
    done = [_evaluate_seed(replace(config, seed=seed), row, column, test, test_split) for seed in seeds]
    runs, seconds = zip(*done, strict=True)
    return Cell(row, column, runs, seconds, paper_map(row, column, test.classes))


def paper_map(row: str, column: str, classes: Sequence[str]) -> float | None:
    """Return the paper's mAP of a cell, a fraction; None if it has none, or for classes other than VOC's."""
    known = row in DETECTION_MAP and set(classes) == set(VOC_CLASSES)
    return DETECTION_MAP[row][COLUMNS.index(column)] if known else None


def _evaluate_seed(
    config: TrainConfig, row: str, column: str, test: Dataset, test_split: str
) -> tuple[BootstrapMAP, float]:
    """Return mAP and seconds of one seed."""
    shared = row.removesuffix("+bb")  # rows that differ only in box regression share a training
    folder = Path(config.output) / f"{column.replace(' ', '-')}-{shared}-seed{config.seed}"
    file = folder / f"{test_split}-{row}-detections.json"
    config = replace(config, output=str(folder))
    RunFolder(folder).check_config(config)
    start = time.perf_counter()
    if not file.is_file():
        for end, detections in _detect(train(config), test, config.workers).items():
            name = f"{test_split}-{shared}{end}"
            if not (folder / f"{name}-detections.json").is_file():
                write_json(folder / f"{name}.json", {"seconds": time.perf_counter() - start})
                write_coco_results(folder / f"{name}-detections.json", detections, test)  # last: marks the row as done
    result = bootstrap_map(read_results(file, test), test.images, test.classes)
    return result, read_json(folder / f"{test_split}-{row}.json")["seconds"]


def _detect(detector: Detector, test: Dataset, workers: int) -> dict[str, list[Detections]]:
    """Return the detections without box regression and, as "+bb", with it, from the same features."""
    plain = detector.heads.without_box_regression()
    proposals = propose(test.images, detector.config.proposals, workers)
    detections: dict[str, list[Detections]] = {"": [], "+bb": []}
    pairs = zip(test.images, proposals, strict=True)
    for image, boxes in trim_memory(tqdm(pairs, desc="detect", unit="image", total=len(proposals))):
        encoded = detector.encode(image.read())
        with torch.inference_mode():
            outputs = apply_to_features(encoded.image_features, boxes, detector.heads)
        for row, heads in (("", plain), ("+bb", detector.heads)):
            detections[row].append(postprocess(heads, outputs, boxes, encoded.size, detector.config.selection))
    return detections
