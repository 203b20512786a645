"""What the commands do, as functions: from paths and configuration to results, as data and as files."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.comparison.compare import GROWTH, compare_detectors, write_comparison
from sppdet.comparison.report import Comparison
from sppdet.config import DataConfig, Device, Precision, ProposalConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import DETECTOR_FILE, Detector
from sppdet.drawing import draw_detections, write_picture
from sppdet.errors import ConfigError, DataError, ImageError, WeightsError
from sppdet.evaluation.coco import evaluate_coco
from sppdet.evaluation.diagnosis import Diagnosis
from sppdet.evaluation.diagnosis import diagnose as diagnose_detections
from sppdet.evaluation.diagnosis_report import plot_diagnosis
from sppdet.evaluation.plots import plot_precision_recall
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.evaluation.results import read_results, write_coco_results, write_voc_results
from sppdet.evaluation.voc import evaluate_voc
from sppdet.images import IMAGE_SUFFIXES, read_image
from sppdet.proposals.store import count_missing, propose
from sppdet.storage import write_json
from sppdet.structures import Detections


def evaluate(
    run: str | None,
    detections: str | None,
    data: DataConfig,
    output: str | None = None,
    proposals: str | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    workers: int = 2,
    svd: Sequence[int] | None = None,
) -> tuple[dict[str, Any], Path | None]:
    """Evaluate a run, or the detections in a file or folder, on the images of `data`.

    proposals: a file of another program's for these images; without it those of the detector's selective search.
    svd: evaluate the run also with its fully connected layers truncated to these ranks, which adds `svd`: the ranks,
    both mAPs, and by how much map_voc07 changes.

    Returns the numbers (`map_voc07`, `map_voc10`, `coco`, `per_class`, `images`; fractions) and the folder they were
    written to, if any: evaluation.json, curves.json, precision_recall.png, detections.json (COCO) and comp4/ (VOC).
    """
    if (run is None) == (detections is None):
        raise ConfigError("give a run or --detections, one of them", field="run")
    if svd is not None and run is None:
        raise ConfigError("needs a run: detections have no layers to truncate", field="svd")
    detector = _load(run, device, precision) if run else None
    dataset = read_dataset(data, detector.classes if detector else None)
    truncated = detector.truncated(svd) if detector and svd is not None else None
    if detector:
        boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)
        files = [image.path for image in dataset.images]
        found = detector.detect_files(files, boxes)
    else:
        assert detections is not None
        found = read_results(detections, dataset)
    result = evaluate_voc(found, dataset.images, dataset.classes)
    numbers = result.as_dict() | {
        "coco": evaluate_coco(found, dataset.images, dataset.classes),
        "images": len(dataset),
    }
    if truncated and svd is not None:
        other = evaluate_voc(truncated.detect_files(files, boxes), dataset.images, dataset.classes)
        change = other.map_voc07 - result.map_voc07
        maps = {"map_voc07": other.map_voc07, "map_voc10": other.map_voc10, "change_voc07": change}
        numbers["svd"] = {"ranks": list(svd), **maps}
    folder = Path(output) if output else _run_folder(run) / data.split if run else None
    if folder:
        write_json(folder / "evaluation.json", numbers)
        write_json(folder / "curves.json", result.as_dict(curves=True)["per_class"])
        plot_precision_recall(result, folder / "precision_recall.png")
        write_coco_results(folder / "detections.json", found, dataset)
        write_voc_results(folder / "comp4", found, dataset, data.split)
    return numbers, folder


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
    evaluated = _run_folder(run) / data.split if run else None
    dataset = read_dataset(data, _load(run, "cpu", "fp32").classes if run else None)
    if detections is None:
        assert evaluated is not None
        detections = str(evaluated / "detections.json")
        if not Path(detections).exists():
            raise DataError("file not found", file=detections, expected=f"sppdet evaluate {run} to have written it")
    found = diagnose_detections(read_results(detections, dataset), dataset.images, dataset.classes, similar)
    folder = Path(output) if output else evaluated
    if folder:
        write_json(folder / "diagnosis.json", found.as_dict())
        plot_diagnosis(found, folder / "diagnosis.png")
    return found, folder


def detect_files(
    run: str,
    images: Sequence[str],
    output: str,
    threshold: float | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> tuple[list[dict[str, Any]], list[ImageError]]:
    """Detect objects in image files and folders of them.

    Returns, and writes to detections.json in `output`, an entry an image: its file, its picture, and the detections
    that reach the drawing threshold of their class (or `threshold`) as class, score and box x1 y1 x2 y2. Images that
    cannot be read are left out; the errors that name them are returned as well.
    """
    detector = _load(run, device, precision)
    files = _image_files(images)
    names = _picture_names(files)
    entries: list[dict[str, Any]] = []
    errors: list[ImageError] = []
    for file, name in zip(tqdm(files, desc="detect", unit="image"), names, strict=True):
        try:
            image = read_image(file)
        except ImageError as error:
            errors.append(error)
            continue
        shown = above_threshold(detector.detect(image), detector.thresholds, threshold)
        picture = Path(output) / name
        write_picture(picture, draw_detections(image, shown, detector.classes))
        entries.append({"image": str(file), "picture": str(picture), "detections": _as_rows(shown, detector.classes)})
    write_json(Path(output) / "detections.json", entries)
    return entries, errors


def compare(
    runs: Sequence[str],
    data: DataConfig,
    regions: int = 2000,
    growth: tuple[int, ...] = GROWTH,
    output: str = "runs/compare",
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> Comparison:
    """Compare one run with its counterpart in the other mode, or two runs, and write what comes of it to `output`."""
    detectors = {Path(run).resolve().name: _load(run, device, precision) for run in runs}
    if len(detectors) < len(runs):
        raise ConfigError("two runs of one name", field="runs", expected="names of their own", got=", ".join(runs))
    dataset = read_dataset(data, next(iter(detectors.values())).classes)
    result = compare_detectors(detectors, dataset, len(dataset), regions, growth)
    write_comparison(result, output)
    return result


def measure_proposals(data: DataConfig, config: ProposalConfig, workers: int = 2) -> dict[str, Any]:
    """Fill the cache of proposals for the images of `data` and measure them against the annotations.

    `seconds_per_image` is wall time over the images that were searched now, None where all were cached.
    """
    dataset = read_dataset(data)
    missing = count_missing(dataset.images, config)
    start = time.perf_counter()
    boxes = propose(dataset.images, config, workers)
    seconds = (time.perf_counter() - start) / missing if missing else None
    quality = evaluate_proposals(boxes, dataset.images, dataset.classes)
    return {"images": len(dataset), "searched": missing, "seconds_per_image": seconds, **quality.as_dict()}


def above_threshold(detections: Detections, thresholds: Tensor, threshold: float | None = None) -> Detections:
    """The detections scoring at least their class's threshold (K,), or one for all."""
    limits = thresholds[detections.labels - 1] if threshold is None else torch.full_like(detections.scores, threshold)
    return detections[detections.scores >= limits]


def _load(run: str, device: Device, precision: Precision) -> Detector:
    if Path(run).is_file() and Path(run).suffix != ".safetensors":
        raise WeightsError("is not a detector", file=run, expected=f"a run folder or {DETECTOR_FILE}")
    return Detector.load(run, device, precision)


def _as_rows(detections: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    columns = (detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist())
    return [{"class": classes[k - 1], "score": score, "box": box} for k, score, box in zip(*columns, strict=True)]


def _image_files(paths: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError("no images in the folder", file=path, expected=", ".join(sorted(IMAGE_SUFFIXES)))
            files += inside
        else:
            files.append(path)
    return files


def _picture_names(files: Sequence[Path]) -> list[str]:
    """stem.jpg for each file, numbered where that name is taken."""
    names: dict[str, None] = {}
    for file in files:
        candidates = (f"{file.stem}{f'-{n}' if n > 1 else ''}.jpg" for n in itertools.count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)


def _run_folder(run: str) -> Path:
    return Path(run) if Path(run).is_dir() else Path(run).parent
