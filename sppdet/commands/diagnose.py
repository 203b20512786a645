"""Diagnose the errors of a run that was evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.config.data import DataConfig
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.evaluation.diagnose import Diagnosis


def diagnose(
    run: str | None = None,
    *,
    detections: str | None = None,
    data: DataConfig = DataConfig(split="test"),
    similar: list[list[str]] | None = None,
    output: str | None = None,
) -> Diagnosis:
    """Diagnose errors: false positives by kind, the AP each kind costs, and AP by object size (Hoiem et al. 2012).

    Reads the detections that `sppdet evaluate` wrote, and writes diagnosis.json and diagnosis.png next to them.

    Example: sppdet diagnose runs/mine --output runs/errors

    Args:
        run: run folder or detector file, evaluated on these images
        detections: COCO results JSON or folder of VOC comp4 files, instead of a run
        data: images of the detections; without --data.root, SPLIT of the run's data
        similar: sets of similar classes, such as [[cat,dog],[bus,car]]; the paper's for VOC's classes
        output: folder of the results; RUN/SPLIT or RUN/SPLIT-IMAGES by default
    """
    if (run is None) == (detections is None):
        raise ConfigError("give a run or --detections, one of them", field="run")

    from sppdet.commands.evaluate import EVALUATION
    from sppdet.commands.inputs import classes_of, data_of_run, find_detections, read_data, warn_trained_on
    from sppdet.data.results.files import read_results
    from sppdet.evaluation.diagnose import diagnose as diagnose_detections
    from sppdet.evaluation.plots import plot_diagnosis
    from sppdet.files.atomic import write_json
    from sppdet.files.owned import hold_folder

    classes = classes_of(run) if run else None
    data = data_of_run(run, data)
    dataset = read_data(data, classes, 2, decode=False)
    warn_trained_on([run] if run else [], dataset)
    file = find_detections(run, data, dataset) if run else Path(detections or "")
    folder = Path(output) if output else file.parent if run else None
    found = diagnose_detections(read_results(file, dataset), dataset.images, dataset.classes, similar)
    found = replace(found, folder=folder)
    if folder:
        with hold_folder(folder, EVALUATION):
            write_json(folder / "diagnosis.json", found.as_dict())
            plot_diagnosis(found, folder / "diagnosis.png")
    return found
