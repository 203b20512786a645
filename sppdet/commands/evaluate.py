"""Evaluate a run, or what another program detected."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sppdet.commands.runs import detect_dataset, load_run
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.data.dataset import read_dataset
from sppdet.data.detection_files import read_results, write_coco_results, write_voc_results
from sppdet.errors import ConfigError
from sppdet.evaluation.bootstrap import RESAMPLES, BootstrapMAP, bootstrap_map
from sppdet.evaluation.coco import evaluate_coco
from sppdet.evaluation.plots import plot_precision_recall
from sppdet.evaluation.reliability import measure_reliability
from sppdet.evaluation.voc import VOCResult, evaluate_voc
from sppdet.files.atomic import read_json, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.structures import Dataset, Detections

logger = logging.getLogger(__name__)


def evaluate(
    run: str | None,
    detections: str | None,
    data: DataConfig,
    *,
    output: str | None = None,
    proposals: str | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    workers: int = 2,
    svd: list[int] | None = None,
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

    Returns the numbers (`map_voc07`, `map_area`, `coco`, `per_class`, `images`; fractions) and the folder they were
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
    detector = load_run(run, device, precision, probabilities) if run else None
    dataset = read_dataset(data, detector.classes if detector else None)
    truncated = detector.truncated(svd) if detector and svd is not None else None
    other = _detections_of(against, dataset, data, proposals, device, precision, workers) if against else None
    if run and detector:
        found = detect_dataset(run, detector, dataset, workers, proposals)
        found = [detector.probabilities(one) for one in found] if probabilities else found
    else:
        assert detections is not None
        found = read_results(detections, dataset)
    result, resampled, numbers = measure(found, dataset, resamples, probabilities)
    if other is not None:
        theirs = bootstrap_map(other, dataset.images, dataset.classes, resamples)
        numbers["against"] = {"name": against, **theirs.as_dict()}
        numbers["difference"] = resampled.minus(theirs).as_dict()
    if run and truncated:
        cut = evaluate_voc(detect_dataset(run, truncated, dataset, workers, proposals), dataset.images, dataset.classes)
        maps = {"map_voc07": cut.map_voc07, "map_area": cut.map_area}
        numbers["svd"] = {"ranks": svd, **maps, "change_voc07": cut.map_voc07 - result.map_voc07}
    if proposals:
        numbers["proposals"] = proposals
    folder = Path(output) if output else RunFolder(run).evaluation(data) if run else None
    if folder:
        write_evaluation(folder, found, dataset, data.split, result, numbers)
    return numbers, folder


def measure(
    found: Sequence[Detections], dataset: Dataset, resamples: int, probabilities: bool
) -> tuple[VOCResult, BootstrapMAP, dict[str, Any]]:
    """The curves of one detector, its mAP in resamples of the images, and the numbers of its evaluation.json."""
    result = evaluate_voc(found, dataset.images, dataset.classes)
    resampled = bootstrap_map(found, dataset.images, dataset.classes, resamples)
    coco = evaluate_coco(found, dataset.images, dataset.classes)
    numbers = resampled.as_dict() | result.as_dict() | {"coco": coco, "images": len(dataset)}
    if probabilities:
        numbers["reliability"] = measure_reliability(result.curves.values()).as_dict()
    return result, resampled, numbers


def write_evaluation(
    folder: Path, found: Sequence[Detections], dataset: Dataset, split: str, result: VOCResult, numbers: dict[str, Any]
) -> None:
    """Write all files of an evaluation, last that which says that the others are of one detector."""
    write_json(folder / "curves.json", result.as_dict(curves=True)["per_class"])
    plot_precision_recall(result, folder / "precision_recall.png")
    write_coco_results(folder / "detections.json", found, dataset)
    write_voc_results(folder / "comp4", found, dataset, split)
    write_json(folder / "evaluation.json", numbers)


def _detections_of(
    path: str,
    dataset: Dataset,
    data: DataConfig,
    proposals: str | None,
    device: Device,
    precision: Precision,
    workers: int,
) -> list[Detections]:
    """What a file or folder of detections holds, or what a run finds, which is read where it was saved."""
    if not any(Path(path).glob("*.safetensors")) and Path(path).suffix != ".safetensors":
        return read_results(path, dataset)
    saved, detector = RunFolder(path).evaluation(data) / "detections.json", RunFolder(path).find_detector()
    if proposals is None and is_evaluation_of(saved.with_name("evaluation.json"), detector, dataset):
        logger.info("%s: taken as what %s detects", saved, path)
        return read_results(saved, dataset)
    return detect_dataset(path, load_run(path, device, precision), dataset, workers, proposals)


def is_evaluation_of(file: Path, detector: Path, dataset: Dataset) -> bool:
    """Whether the evaluation is younger than its detector, of selective search's proposals, and of as many images with
    the same numbers of objects."""
    if not file.is_file() or file.stat().st_mtime < detector.stat().st_mtime:
        return False
    numbers = read_json(file)
    found = Counter(label for image in dataset.images for label in image.labels[~image.difficult].tolist())
    objects = [(name, found[label]) for label, name in enumerate(dataset.classes, start=1)]
    try:
        saved = [(name, row["positives"]) for name, row in numbers["per_class"].items()]
        return bool((numbers["images"], saved) == (len(dataset), objects)) and "proposals" not in numbers
    except (KeyError, TypeError, AttributeError):  # JSON of something else
        return False
