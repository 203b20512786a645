"""Evaluate a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.shards import detect_shard
from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.config.shard import read_shard
from sppdet.errors import ConfigError
from sppdet.runtime.progress import Stage, plan

if TYPE_CHECKING:
    from sppdet.commands.inputs import Run
    from sppdet.evaluation.evaluation import Evaluation
    from sppdet.structures import Dataset, Detections

EVALUATION = "evaluation"  # the kind of the folder


@plan(Stage("check", None, 0.01), Stage("proposals", None, 1.0), Stage("detect", None, 0.3))
def evaluate(
    run: Run | None = None,
    *,
    detections: str | None = None,
    data: DataConfig = DataConfig(split="test"),
    proposals: str | None = None,
    probabilities: bool = False,
    against: str | None = None,
    svd: list[int] | None = None,
    shard: str | None = None,
    resamples: int = 1000,
    output: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    workers: int = 2,
    dataset: Dataset | None = None,
) -> Evaluation | Summary:
    """Evaluate a detector, or the detections of another program: VOC and COCO average precision.

    The results go to the folder SPLIT of the run, or SPLIT-20 on the first 20 images: evaluation.json, curves.json,
    precision_recall.png, detections.json (COCO) and comp4/ (VOC). With --data.annotations SPLIT is the file's name;
    data of another folder have a key of it in the name.

    Example: sppdet evaluate runs/mine --against runs/other

    Args:
        run: run folder or detector file
        detections: COCO results JSON, or a folder of VOC comp4 files or shards; of a run shards only
        data: images to evaluate on; without --data.root, SPLIT of the run's data
        proposals: proposals of another program (.json, .npz, .mat) for these images
        probabilities: scores are calibrated probabilities of being correct
        against: another run, or other detections, to compare with
        svd: ranks to truncate the fully connected layers to, one each, to see the mAP this costs
        shard: i/n only writes detections in images i modulo n, to RUN/SPLIT-shards
        resamples: resamples of the images for 95% confidence intervals; 0: none
        output: folder of the results; RUN/SPLIT or RUN/SPLIT-IMAGES by default
        workers: images searched for proposals at once
        dataset: images in memory, instead of `data`; results are then written to `output` only
    """
    if run is None and detections is None:
        raise ConfigError("give a run or --detections", field="run")
    if part := read_shard(shard):
        for field in ("detections", "probabilities", "against", "svd", "dataset"):
            if locals()[field]:
                raise ConfigError("is for all images: leave it out with --shard", field=field)
        if not isinstance(run, (str, PathLike)):
            raise ConfigError("a shard needs a run folder or detector file", field="run")
        return detect_shard(run, part, data, proposals, output, device, precision, workers)
    if detections is not None and not (run is None or isinstance(run, (str, PathLike))):
        raise ConfigError("give a detector or detections, one of them", field="detections")
    for field, given in {"svd": svd is not None, "probabilities": probabilities}.items():
        if given and run is None:
            raise ConfigError("needs a run: detections have no layers and no calibration", field=field)
    if resamples < 0:
        raise ConfigError("out of range", field="resamples", expected="0 or more", got=resamples)

    from sppdet.commands.inputs import (
        classes_of,
        count_trained_on,
        data_of_run,
        detect_dataset,
        detections_of,
        is_run,
        load_run,
        origin_of,
        read_data,
        source_of,
    )
    from sppdet.data.results.files import read_results
    from sppdet.detector import Detector
    from sppdet.evaluation.evaluation import evaluate_detections
    from sppdet.evaluation.voc import evaluate_voc
    from sppdet.files.owned import OwnedFolder
    from sppdet.files.run_folder import RunFolder
    from sppdet.training.run_readme import update_evaluations

    classes = None if run is None else classes_of(run)  # data are looked at before the network
    folder, source = Path(output) if output else None, None
    if dataset is None:
        data = data_of_run(run, data)
        dataset = read_data(data, classes, workers, decode=detections is None)
        if folder is None and run is not None and not isinstance(run, Detector):
            folder = RunFolder(run).evaluation(data)
            source = {**source_of(run, dataset), "proposals": proposals, "probabilities": probabilities}
    if folder:
        OwnedFolder(folder, EVALUATION).check()  # before hours of detection
    detector = None if run is None else load_run(run, device, precision, probabilities)
    truncated = detector.truncated(svd) if detector and svd is not None else None
    others = None
    if against:
        load = partial(load_run, against, device, precision)
        others = {against: detections_of(against, dataset, data, workers, load, proposals)}
    if detector:
        dataset.check_classes(detector.classes, None if isinstance(run, Detector) else run)
    if detections is not None:
        origin = origin_of(run, proposals) if isinstance(run, (str, PathLike)) else None
        found = read_results(detections, dataset, origin)
    else:
        assert detector
        found = detect_dataset(detector, dataset, workers, proposals)
    found = [detector.probabilities(one) for one in found] if detector and probabilities else found
    result = evaluate_detections(found, dataset, resamples, probabilities, others)
    runs = [one for one in (run, against if against and is_run(against) else None) if one is not None]
    result = replace(result, proposals=proposals, folder=folder, trained_on=count_trained_on(runs, dataset))
    if truncated:
        cut = evaluate_voc(detect_dataset(truncated, dataset, workers, proposals), dataset.images, dataset.classes)
        result = replace(result, ranks=svd, truncated=cut)
    if folder:
        write_evaluation(folder, result, found, dataset, data.split, source)
        if source and run is not None and not isinstance(run, Detector):
            update_evaluations(RunFolder(run))
    return result


def write_evaluation(
    folder: Path,
    result: Evaluation,
    detections: Sequence[Detections],
    dataset: Dataset,
    split: str,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Write all files of an evaluation.

    source: see `saved_detections`; it is written last, as it says that the others may be used again.
    """
    from sppdet.data.results.files import write_coco_results, write_voc_results
    from sppdet.evaluation.plots import plot_precision_recall
    from sppdet.files.atomic import write_json
    from sppdet.files.owned import hold_folder

    with hold_folder(folder, EVALUATION):
        (folder / "source.json").unlink(missing_ok=True)
        write_json(folder / "curves.json", result.voc.as_dict(curves=True)["per_class"])
        plot_precision_recall(result.voc, folder / "precision_recall.png")
        write_coco_results(folder / "detections.json", detections, dataset)
        write_voc_results(folder / "comp4", detections, dataset, split)
        write_json(folder / "evaluation.json", result.as_dict())
        if source:
            write_json(folder / "source.json", source)
