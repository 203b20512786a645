"""Diagnose the errors of a run that was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sppdet.commands.evaluate import is_evaluation_of
from sppdet.commands.runs import load_run
from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.data.detection_files import read_results
from sppdet.errors import ConfigError, DataError
from sppdet.evaluation.diagnosis import Diagnosis
from sppdet.evaluation.diagnosis import diagnose as diagnose_detections
from sppdet.evaluation.diagnosis_report import plot_diagnosis
from sppdet.files.atomic import write_json
from sppdet.files.run_folder import RunFolder


def diagnose(
    run: str | None,
    detections: str | None,
    data: DataConfig,
    output: str | None = None,
    similar: Sequence[Sequence[str]] | None = None,
) -> tuple[Diagnosis, Path | None]:
    """Diagnose what `evaluate` found with a run on the images of `data`, or the detections in a file or folder.

    similar: sets of names of similar classes, VOC's own where not given. Returns the diagnosis and the folder where
    diagnosis.json and diagnosis.png were written, if any: the run's evaluation, unless `output` is another.
    """
    if (run is None) == (detections is None):
        raise ConfigError("give a run or --detections, one of them", field="run")
    evaluated = RunFolder(run).evaluation(data) if run else None
    dataset = read_dataset(data, load_run(run, "cpu", "fp32").classes if run else None)
    if detections is None:
        assert run is not None
        assert evaluated is not None
        detections = str(evaluated / "detections.json")
        if not Path(detections).exists():
            raise DataError(
                "file not found",
                file=detections,
                expected=f"sppdet evaluate {run}, on as many images, to have written it",
            )
        detector = RunFolder(run).find_detector()
        if not is_evaluation_of(evaluated / "evaluation.json", detector, dataset):
            expected = f"sppdet evaluate {run} again, on these images"
            raise DataError("not of these images, or not of this detector", file=detections, expected=expected)
    found = diagnose_detections(read_results(detections, dataset), dataset.images, dataset.classes, similar)
    folder = Path(output) if output else evaluated
    if folder:
        write_json(folder / "diagnosis.json", found.as_dict())
        plot_diagnosis(found, folder / "diagnosis.png")
    return found, folder
