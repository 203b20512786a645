"""What the commands do, as functions: from paths and configuration to results, as data and as files."""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.combination import combine_detections
from sppdet.comparison.compare import GROWTH, compare_detectors, write_comparison
from sppdet.comparison.report import Comparison
from sppdet.config import DataConfig, Device, Precision, ProposalConfig, SelectionConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import DETECTOR_FILE, Detector
from sppdet.drawing import draw_detections, write_picture
from sppdet.errors import ConfigError, DataError, ImageError, WeightsError
from sppdet.evaluation.bootstrap import RESAMPLES, bootstrap_map
from sppdet.evaluation.coco import evaluate_coco
from sppdet.evaluation.diagnosis import Diagnosis
from sppdet.evaluation.diagnosis import diagnose as diagnose_detections
from sppdet.evaluation.diagnosis_report import plot_diagnosis
from sppdet.evaluation.plots import plot_precision_recall
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.evaluation.reliability import measure_reliability
from sppdet.evaluation.results import read_results, write_coco_results, write_voc_results
from sppdet.evaluation.voc import VOCResult, evaluate_voc
from sppdet.images import IMAGE_SUFFIXES, read_image
from sppdet.proposals.store import count_missing, propose
from sppdet.storage import read_json, write_json
from sppdet.structures import Dataset, Detections

logger = logging.getLogger("sppdet")


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
    against: str | None = None,
    resamples: int = RESAMPLES,
    probabilities: bool = False,
) -> tuple[dict[str, Any], Path | None]:
    """Evaluate a run, or the detections in a file or folder, on the images of `data`.

    proposals: a file of another program's for these images; without it those of the detector's selective search.
    svd: evaluate the run also with its fully connected layers truncated to these ranks, which adds `svd`: the ranks,
    both mAPs, and by how much map_voc07 changes.
    against: another run or other detections, which add `against`, its mAPs, and `difference`, by how much they are
    lower. A run's saved detections are taken where they are of the same images, else it detects, but saves nothing.
    resamples: of the images, for the `interval` beside mAPs and their difference (see `bootstrap_map`); 0: none.
    probabilities: let the run's scores be its calibration's, which adds `reliability`: how far they can be believed.

    Returns the numbers (`map_voc07`, `map_voc10`, `coco`, `per_class`, `images`; fractions) and the folder they were
    written to, if any: evaluation.json, curves.json, precision_recall.png, detections.json (COCO) and comp4/ (VOC).
    """
    if (run is None) == (detections is None):
        raise ConfigError("give a run or --detections, one of them", field="run")
    if svd is not None and run is None:
        raise ConfigError("needs a run: detections have no layers to truncate", field="svd")
    if resamples < 0:
        raise ConfigError("out of range", field="resamples", expected="0 or more", got=resamples)
    if probabilities and run is None:
        raise ConfigError("needs a run: detections have no calibration", field="probabilities")
    detector = _load(run, device, precision, probabilities) if run else None
    dataset = read_dataset(data, detector.classes if detector else None)
    truncated = detector.truncated(svd) if detector and svd is not None else None
    other = _detections_of(against, dataset, data.split, proposals, device, precision, workers) if against else None
    if detector:
        boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)
        files = [image.path for image in dataset.images]
        found = detector.detect_files(files, boxes)
        found = [detector.probabilities(one) for one in found] if probabilities else found
    else:
        assert detections is not None
        found = read_results(detections, dataset)
    result, numbers = _measure(found, dataset, probabilities)
    resampled = bootstrap_map(found, dataset.images, dataset.classes, resamples)
    numbers |= resampled.as_dict()
    if other is not None:
        theirs = bootstrap_map(other, dataset.images, dataset.classes, resamples)
        numbers["against"] = {"name": against, **theirs.as_dict()}
        numbers["difference"] = resampled.minus(theirs).as_dict()
    if truncated and svd is not None:
        cut = evaluate_voc(truncated.detect_files(files, boxes), dataset.images, dataset.classes)
        change = cut.map_voc07 - result.map_voc07
        maps = {"map_voc07": cut.map_voc07, "map_voc10": cut.map_voc10, "change_voc07": change}
        numbers["svd"] = {"ranks": list(svd), **maps}
    folder = Path(output) if output else _run_folder(run) / data.split if run else None
    if folder:
        _write(folder, found, dataset, data.split, result, numbers)
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


def combine(
    runs: Sequence[str],
    data: DataConfig,
    output: str,
    device: Device = "cpu",
    precision: Precision = "fp32",
    workers: int = 2,
) -> dict[str, Any]:
    """Combine detectors on the images of `data`: suppression over the union of what they found, by probability.

    runs: two or more, each a run, or the file or folder of detections that `evaluate` wrote with `probabilities`. The
    first run's configuration says which boxes suppress each other. Returns the numbers that `evaluate` returns with
    `probabilities`, and `single`: map_voc07 and map_voc10 of each of `runs`. Writes the files that `evaluate` writes.
    """
    if len(set(runs)) < len(runs) or len(runs) < 2:
        raise ConfigError("cannot be combined", field="runs", expected="two or more different ones", got=" ".join(runs))
    detectors = {run: _load(run, device, precision, True) for run in runs if not _are_detections(run)}
    first = next(iter(detectors.values()), None)
    dataset = read_dataset(data, first.classes if first else None)
    for run, detector in detectors.items():
        if detector.classes != dataset.classes:
            wanted, got = ", ".join(dataset.classes), ", ".join(detector.classes)
            raise WeightsError("the classes are not those of the others", file=run, expected=wanted, got=got)
    found = {run: read_results(run, dataset) for run in runs if run not in detectors}
    for run, parts in found.items():
        _check_probabilities(parts, run)
    for run, detector in detectors.items():
        boxes = propose(dataset.images, detector.config.proposals, workers)
        raw = detector.detect_files([image.path for image in dataset.images], boxes)
        found[run] = [detector.probabilities(one) for one in raw]
    selection = first.config.selection if first else SelectionConfig()
    union = [combine_detections(parts, selection) for parts in zip(*(found[run] for run in runs), strict=True)]
    result, numbers = _measure(union, dataset, probabilities=True)
    alone = {run: evaluate_voc(found[run], dataset.images, dataset.classes) for run in runs}
    numbers["single"] = {run: {"map_voc07": one.map_voc07, "map_voc10": one.map_voc10} for run, one in alone.items()}
    _write(Path(output), union, dataset, data.split, result, numbers)
    return numbers


def detect_files(
    run: str,
    images: Sequence[str],
    output: str,
    threshold: float | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    probabilities: bool = False,
) -> tuple[list[dict[str, Any]], list[ImageError]]:
    """Detect objects in image files and folders of them.

    Returns, and writes to detections.json in `output`, an entry an image: its file, its picture, and the detections
    that reach the drawing threshold of their class (or `threshold`) as class, score and box x1 y1 x2 y2. Images that
    cannot be read are left out; the errors that name them are returned as well.
    probabilities: of being right take the place of the scores, and `threshold` is one.
    """
    detector = _load(run, device, precision, probabilities)
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
        shown = detector.detect(image)
        if threshold is None:  # those of the classes are scores, though they be drawn as probabilities
            shown = above_threshold(shown, detector.thresholds)
        if probabilities:
            shown = detector.probabilities(shown)
        if threshold is not None:
            shown = above_threshold(shown, detector.thresholds, threshold)
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


def _load(run: str, device: Device, precision: Precision, probabilities: bool = False) -> Detector:
    if Path(run).is_file() and Path(run).suffix != ".safetensors":
        raise WeightsError("is not a detector", file=run, expected=f"a run folder or {DETECTOR_FILE}")
    detector = Detector.load(run, device, precision)
    if probabilities and detector.calibration is None:
        way = f"a detector of this version: remove {DETECTOR_FILE}, and train with the same command; its heads are kept"
        raise WeightsError("gives no probabilities", file=run, field="calibration", expected=way)
    return detector


def _measure(found: Sequence[Detections], dataset: Dataset, probabilities: bool) -> tuple[VOCResult, dict[str, Any]]:
    result = evaluate_voc(found, dataset.images, dataset.classes)
    coco = evaluate_coco(found, dataset.images, dataset.classes)
    numbers = result.as_dict() | {"coco": coco, "images": len(dataset)}
    if probabilities:
        numbers["reliability"] = measure_reliability(result.curves.values()).as_dict()
    return result, numbers


def _write(
    folder: Path, found: Sequence[Detections], dataset: Dataset, split: str, result: VOCResult, numbers: dict[str, Any]
) -> None:
    write_json(folder / "evaluation.json", numbers)
    write_json(folder / "curves.json", result.as_dict(curves=True)["per_class"])
    plot_precision_recall(result, folder / "precision_recall.png")
    write_coco_results(folder / "detections.json", found, dataset)
    write_voc_results(folder / "comp4", found, dataset, split)


def _are_detections(run: str) -> bool:
    """COCO results or a folder of comp4 files, and no run."""
    return Path(run).suffix == ".json" or (Path(run).is_dir() and any(Path(run).glob("*_det_*.txt")))


def _check_probabilities(found: Sequence[Detections], file: str) -> None:
    scores = torch.cat([torch.zeros(0), *(part.scores for part in found)])
    outside = scores[(scores < 0) | (scores > 1)]
    if len(outside):
        wanted = "0..1, as `sppdet evaluate --probabilities` writes"
        raise DataError("not a probability", file=file, field="score", expected=wanted, got=float(outside[0]))


def _detections_of(
    path: str,
    dataset: Dataset,
    split: str,
    proposals: str | None,
    device: Device,
    precision: Precision,
    workers: int,
) -> list[Detections]:
    """What a file or folder of detections holds, or what a run finds, which is read where it was saved."""
    if not (Path(path) / DETECTOR_FILE).is_file() and Path(path).suffix != ".safetensors":
        return read_results(path, dataset)
    saved = Path(path) / split / "detections.json"
    if proposals is None and _is_evaluation_of(saved.with_name("evaluation.json"), Path(path) / DETECTOR_FILE, dataset):
        logger.info("%s: taken as what %s detects", saved, path)
        return read_results(saved, dataset)
    detector = _load(path, device, precision)
    if tuple(detector.classes) != tuple(dataset.classes):
        names = [", ".join(classes) for classes in (dataset.classes, detector.classes)]
        raise DataError("the detector's classes are not the data's", file=path, expected=names[0], got=names[1])
    boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)
    return detector.detect_files([image.path for image in dataset.images], boxes)


def _is_evaluation_of(file: Path, detector: Path, dataset: Dataset) -> bool:
    """Whether the evaluation is younger than its detector, and of as many images with the same numbers of objects."""
    if not file.is_file() or file.stat().st_mtime < detector.stat().st_mtime:
        return False
    numbers = read_json(file)
    found = Counter(label for image in dataset.images for label in image.labels[~image.difficult].tolist())
    objects = [(name, found[label]) for label, name in enumerate(dataset.classes, start=1)]
    try:
        saved = [(name, row["positives"]) for name, row in numbers["per_class"].items()]
        return bool((numbers["images"], saved) == (len(dataset), objects))
    except (KeyError, TypeError, AttributeError):  # JSON of something else
        return False


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
