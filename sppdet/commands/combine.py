"""Combine detectors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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

    Example: sppdet combine runs/mine runs/other

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

    from sppdet.commands.evaluate import EVALUATION, write_evaluation
    from sppdet.commands.inputs import (
        classes_of,
        count_trained_on,
        data_of_run,
        detections_of,
        is_run,
        load_run,
        read_data,
    )
    from sppdet.data.results.files import read_results
    from sppdet.evaluation.evaluation import evaluate_detections
    from sppdet.files.owned import OwnedFolder
    from sppdet.postprocess import combine_detections

    folder = Path(output or f"runs/combine-{'-'.join(Path(run).resolve().name for run in runs)}")
    OwnedFolder(folder, EVALUATION).check()
    classes = {run: classes_of(run) for run in runs if is_run(run)}
    first = next(iter(classes), None)
    data = data_of_run(first, data)
    dataset = read_data(data, classes[first] if first else None, workers, decode=first is not None)
    for run, names in classes.items():
        dataset.check_classes(names, run)
    detectors = {run: load_run(run, device, precision, True) for run in classes}
    found = {run: read_results(run, dataset) for run in runs if run not in detectors}
    for run, parts in found.items():
        for score in (score for part in parts for score in part.scores.tolist()):
            if not 0 <= score <= 1:
                expected = "0..1, as written by `sppdet evaluate --probabilities`"
                raise DataError("not a probability", file=run, field="score", expected=expected, got=score)
    for run, detector in detectors.items():
        raw = detections_of(run, dataset, data, workers, partial(load_run, detector, device, precision), raw=True)
        found[run] = [detector.probabilities(one) for one in raw]
    selection = detectors[first].config.selection if first else SelectionConfig()
    union = [combine_detections(parts, selection) for parts in zip(*(found[run] for run in runs), strict=True)]
    single = {run: found[run] for run in runs}
    result = evaluate_detections(union, dataset, resamples, True, single)
    result = replace(result, folder=folder, trained_on=count_trained_on(detectors, dataset))
    write_evaluation(folder, result, union, dataset, data.split)
    return result
