"""Combine detectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sppdet.commands.evaluate import measure, write_evaluation
from sppdet.commands.runs import check_classes, detect_dataset, load_run
from sppdet.config.data import DataConfig
from sppdet.config.detector import SelectionConfig
from sppdet.config.network import Device, Precision
from sppdet.data.dataset import read_dataset
from sppdet.data.detection_files import read_results
from sppdet.errors import ConfigError, DataError
from sppdet.evaluation.bootstrap import RESAMPLES, bootstrap_map
from sppdet.postprocess import combine_detections
from sppdet.structures import Detections


def combine(
    runs: Sequence[str],
    data: DataConfig,
    output: str,
    device: Device = "cpu",
    precision: Precision = "fp32",
    workers: int = 2,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Combine detectors on the images of `data`: suppression over the union of what they found, by probability.

    runs: two or more, each a run, or the file or folder of detections that `evaluate` wrote with `probabilities`. The
    first run's configuration says which boxes suppress each other. Returns the numbers that `evaluate` returns with
    `probabilities`; `single`, the mAPs of each of `runs`; and `difference`, by how much they are lower in the best of
    these, `best` (see `bootstrap_map` for the intervals). Writes the files that `evaluate` writes.
    """
    if len(set(runs)) < len(runs) or len(runs) < 2:
        raise ConfigError("cannot be combined", field="runs", expected="two or more different ones", got=" ".join(runs))
    detectors = {run: load_run(run, device, precision, True) for run in runs if not _are_detections(run)}
    first = next(iter(detectors.values()), None)
    dataset = read_dataset(data, first.classes if first else None)
    for run, detector in detectors.items():
        check_classes(run, detector, dataset)
    found = {run: read_results(run, dataset) for run in runs if run not in detectors}
    for run, parts in found.items():
        _check_probabilities(parts, run)
    for run, detector in detectors.items():
        found[run] = [detector.probabilities(one) for one in detect_dataset(run, detector, dataset, workers)]
    selection = first.config.selection if first else SelectionConfig()
    union = [combine_detections(parts, selection) for parts in zip(*(found[run] for run in runs), strict=True)]
    result, resampled, numbers = measure(union, dataset, resamples, probabilities=True)
    alone = {run: bootstrap_map(found[run], dataset.images, dataset.classes, resamples) for run in runs}
    numbers["single"] = {run: one.as_dict() for run, one in alone.items()}
    best = max(runs, key=lambda run: alone[run].map_voc07)
    numbers["difference"] = {"best": best, **resampled.minus(alone[best]).as_dict()}
    write_evaluation(Path(output), union, dataset, data.split, result, numbers)
    return numbers


def _are_detections(run: str) -> bool:
    """COCO results or a folder of comp4 files, and no run."""
    return Path(run).suffix == ".json" or (Path(run).is_dir() and any(Path(run).glob("*_det_*.txt")))


def _check_probabilities(found: Sequence[Detections], file: str) -> None:
    scores = torch.cat([torch.zeros(0), *(part.scores for part in found)])
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        wanted = "0..1, as `sppdet evaluate --probabilities` writes"
        raise DataError("not a probability", file=file, field="score", expected=wanted, got=float(outside[0]))
