"""Runs as commands are given them: a folder, or the detector's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sppdet.config.network import Device, Precision
from sppdet.detector import Detector
from sppdet.errors import DataError, WeightsError
from sppdet.proposals.cache import propose
from sppdet.structures import Dataset, Detections


def load_run(run: str, device: Device, precision: Precision, probabilities: bool = False) -> Detector:
    """The detector of a run. Raises WeightsError where there is none, or none that gives probabilities."""
    if Path(run).is_file() and Path(run).suffix != ".safetensors":
        raise WeightsError("is not a detector", file=run, expected="a run folder or detector.safetensors")
    detector = Detector.load(run, device, precision)
    if probabilities and detector.calibration is None:
        way = "a detector of this version: remove this file, and train with the same command; its heads are kept"
        raise WeightsError("gives no probabilities", file=run, field="calibration", expected=way)
    return detector


def detect_dataset(
    run: str, detector: Detector, dataset: Dataset, workers: int, proposals: str | None = None
) -> list[Detections]:
    """Everything that the detector of a run finds in each image; `proposals` is a file of another program's."""
    check_classes(run, detector, dataset)
    boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)
    return detector.detect_files([image.image for image in dataset.images], boxes)


def check_classes(run: str, detector: Detector, dataset: Dataset) -> None:
    """Raise DataError where the detector of a run knows other classes than the data have."""
    if tuple(detector.classes) != tuple(dataset.classes):
        names = [", ".join(classes) for classes in (dataset.classes, detector.classes)]
        raise DataError("the detector's classes are not the data's", file=run, expected=names[0], got=names[1])
