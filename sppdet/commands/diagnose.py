"""Diagnose the errors of a run that was evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.config.data import DataConfig
from sppdet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sppdet.evaluation.diagnose import Diagnosis
    from sppdet.structures import Dataset


def diagnose(
    run: str | None = None,
    *,
    detections: str | None = None,
    data: DataConfig = DataConfig(split="test"),
    similar: list[list[str]] | None = None,
    output: str | None = None,
) -> Diagnosis:
    """Diagnose errors: false positives by kind, the AP each kind costs, and AP by object size (Hoiem et al. 2012).

    Reads the detections that `sppdet evaluate` wrote for the same images, and writes diagnosis.json and diagnosis.png
    next to them. Without --data.root the images are those of SPLIT in the data that the run was trained on.

    JSON: mean and per_class, each with top (the detections ranked first, as many as there are objects, by outcome:
    correct, localisation, similar, other, background; numbers of a class, mean fractions), trend (the same for 1/8 to 8
    times as many) and ap (as_is, localisation_corrected, without_localisation, ...). mean also has ap_n (normalized AP:
    all, XS, S, M, L, XL), a class positives and sizes (objects, ap_n, standard_error by size).

    Args:
        run: run folder or detector file, evaluated on these images
        detections: COCO results JSON or folder of VOC comp4 files, instead of a run
        data: images that the detections were made in
        similar: sets of similar classes, such as [[cat,dog],[bus,car]]; the paper's for VOC's classes
        output: folder of the results; RUN/SPLIT or RUN/SPLIT-IMAGES by default
    """
    if (run is None) == (detections is None):
        raise ConfigError("give a run or --detections, one of them", field="run")

    from sppdet.commands.runs import data_of_run, load_run
    from sppdet.data.dataset import read_dataset
    from sppdet.data.detection_files import read_results
    from sppdet.evaluation.diagnose import diagnose as diagnose_detections
    from sppdet.evaluation.plots import plot_diagnosis
    from sppdet.files.atomic import write_json
    from sppdet.files.run_folder import RunFolder

    classes = load_run(run, "cpu", "fp32").classes if run else None
    data = data_of_run(run, data)
    dataset = read_dataset(data, classes)
    evaluated = RunFolder(run).evaluation(data) if run else None
    if run and evaluated:
        detections = _find_detections(run, evaluated, dataset)
    assert detections is not None
    folder = Path(output) if output else evaluated
    found = diagnose_detections(read_results(detections, dataset), dataset.images, dataset.classes, similar)
    found = replace(found, folder=folder)
    if folder:
        write_json(folder / "diagnosis.json", found.as_dict())
        plot_diagnosis(found, folder / "diagnosis.png")
    return found


def _find_detections(run: str, evaluated: Path, dataset: Dataset) -> str:
    """Return the file of the run's detections in these images. Raises DataError if there is none."""
    from sppdet.commands.runs import is_evaluation_of
    from sppdet.files.run_folder import RunFolder

    file = evaluated / "detections.json"
    if file.exists() and is_evaluation_of(evaluated / "evaluation.json", RunFolder(run).find_detector(), dataset):
        return str(file)
    reason = "not of these images, or not of this detector" if file.exists() else "file not found"
    raise DataError(reason, file=file, expected=f"the detections that `sppdet evaluate {run}` writes for these images")
