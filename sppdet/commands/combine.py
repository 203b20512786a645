"""Combine detectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.config.data import DataConfig
from sppdet.config.detector import SelectionConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sppdet.evaluation.evaluation import Evaluation


def combine(
    runs: list[str],
    *,
    data: DataConfig = DataConfig(split="test"),
    resamples: int = 1000,
    output: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    workers: int = 2,
) -> Evaluation:
    """Combine detectors: non-maximum suppression of all their detections, ranked by calibrated probability.

    The first run's configuration says which boxes suppress each other. Writes the files that `sppdet evaluate` writes.

    Args:
        runs: two or more runs, or detections written by evaluate --probabilities
        data: images to evaluate on; without --data.root, SPLIT of the first run's data
        resamples: resamples of the images for 95% confidence intervals; 0: none
        output: folder of the results; runs/combine-RUNS by default
        workers: images searched for proposals at once
    """
    if len(set(runs)) < len(runs) or len(runs) < 2:
        raise ConfigError("cannot be combined", field="runs", expected="two or more different ones", got=" ".join(runs))
    if resamples < 0:
        raise ConfigError("out of range", field="resamples", expected="0 or more", got=resamples)

    from sppdet.commands.evaluate import write_evaluation
    from sppdet.commands.runs import data_of_run, detect_dataset, is_run, load_run
    from sppdet.data.dataset import read_dataset
    from sppdet.data.detection_files import read_results
    from sppdet.evaluation.evaluation import evaluate_detections
    from sppdet.postprocess import combine_detections

    detectors = {run: load_run(run, device, precision, True) for run in runs if is_run(run)}
    first = next(iter(detectors), None)
    data = data_of_run(first, data)
    dataset = read_dataset(data, detectors[first].classes if first else None)
    for run, detector in detectors.items():
        dataset.check_classes(detector.classes, run)
    found = {run: read_results(run, dataset) for run in runs if run not in detectors}
    for run, parts in found.items():
        for score in (score for part in parts for score in part.scores.tolist()):
            if not 0 <= score <= 1:
                expected = "0..1, as written by `sppdet evaluate --probabilities`"
                raise DataError("not a probability", file=run, field="score", expected=expected, got=score)
    for run, detector in detectors.items():
        found[run] = [detector.probabilities(one) for one in detect_dataset(detector, dataset, workers)]
    selection = detectors[first].config.selection if first else SelectionConfig()
    union = [combine_detections(parts, selection) for parts in zip(*(found[run] for run in runs), strict=True)]
    folder = Path(output or f"runs/combine-{'-'.join(Path(run).resolve().name for run in runs)}")
    single = {run: found[run] for run in runs}
    result = replace(evaluate_detections(union, dataset, resamples, True, single), folder=folder)
    write_evaluation(folder, result, union, dataset, data.split)
    return result
