"""Runs as commands are given them: a folder, or the detector's file."""

from __future__ import annotations

from pathlib import Path

from sppdet.config import Device, Precision
from sppdet.detector import DETECTOR_FILE, Detector
from sppdet.errors import WeightsError


def load_run(run: str, device: Device, precision: Precision, probabilities: bool = False) -> Detector:
    if Path(run).is_file() and Path(run).suffix != ".safetensors":
        raise WeightsError("is not a detector", file=run, expected=f"a run folder or {DETECTOR_FILE}")
    detector = Detector.load(run, device, precision)
    if probabilities and detector.calibration is None:
        way = f"a detector of this version: remove {DETECTOR_FILE}, and train with the same command; its heads are kept"
        raise WeightsError("gives no probabilities", file=run, field="calibration", expected=way)
    return detector


def run_folder(run: str) -> Path:
    return Path(run) if Path(run).is_dir() else Path(run).parent
