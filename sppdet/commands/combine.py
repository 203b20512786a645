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
    from sppdet.structures import Dataset, Detections


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

    from sppdet.commands import inputs
    from sppdet.commands.evaluate import EVALUATION, write_evaluation
    from sppdet.evaluation.evaluation import evaluate_detections
    from sppdet.files.owned import OwnedFolder
    from sppdet.postprocess import combine_detections

    folder = Path(output or f"runs/combine-{'-'.join(Path(run).resolve().name for run in runs)}")
    OwnedFolder(folder, EVALUATION).check()
    classes = {run: inputs.classes_of(run) for run in runs if inputs.is_run(run)}
    first = next(iter(classes), None)
    data = inputs.data_of_run(first, data)
    dataset = inputs.read_data(data, classes[first] if first else None, workers, decode=first is not None)
    for run, names in classes.items():
        dataset.check_classes(names, run)
    detectors = {run: inputs.load_run(run, device, precision, True) for run in classes}
    trained_on = inputs.count_trained_on(detectors, dataset)
    found = {run: _read_probabilities(run, dataset) for run in runs if run not in detectors}
    for run, detector in detectors.items():
        load = partial(inputs.load_run, detector, device, precision)
        raw = inputs.detections_of(run, dataset, data, workers, load, raw=True)
        found[run] = [detector.probabilities(one) for one in raw]
    selection = detectors[first].config.selection if first else SelectionConfig()
    union = [combine_detections(parts, selection) for parts in zip(*(found[run] for run in runs), strict=True)]
    single = {run: found[run] for run in runs}
    result = evaluate_detections(union, dataset, resamples, True, single)
    result = replace(result, folder=folder, trained_on=trained_on)
    write_evaluation(folder, result, union, dataset, data.split)
    return result


def _read_probabilities(path: str, dataset: Dataset) -> list[Detections]:
    """Read detections. Raises DataError for scores that are no probabilities."""
    from sppdet.data.results.files import read_results

    found = read_results(path, dataset)
    for score in (score for part in found for score in part.scores.tolist()):
        if not 0 <= score <= 1:
            expected = "0..1, as written by `sppdet evaluate --probabilities`"
            raise DataError("not a probability", file=path, field="score", expected=expected, got=score)
    return found
