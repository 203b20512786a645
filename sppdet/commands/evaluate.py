"""Evaluate a detector."""

from __future__ import annotations

import json
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
from sppdet.runtime.ranks import rank

if TYPE_CHECKING:
    from sppdet.commands.inputs import Run
    from sppdet.detector import Detector
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
        output: folder of the results; RUN/SPLIT or RUN/SPLIT-IMAGES by default, without a run none
        workers: images searched for proposals at once
        dataset: images in memory, instead of `data`; results are then written to `output` only
    """
    _check_options(locals())
    if part := read_shard(shard):
        assert isinstance(run, (str, PathLike))
        return detect_shard(run, part, data, proposals, output, device, precision, workers)

    from sppdet.commands import inputs
    from sppdet.evaluation.evaluation import evaluate_detections
    from sppdet.evaluation.voc import evaluate_voc
    from sppdet.files.owned import OwnedFolder
    from sppdet.files.run_folder import RunFolder
    from sppdet.training.run_readme import update_evaluations

    classes = None if run is None else inputs.classes_of(run)  # data are looked at before the network
    path = run if isinstance(run, (str, PathLike)) else None
    folder, source = Path(output) if output else None, None
    if dataset is None:
        data = inputs.data_of_run(run, data)
        dataset = inputs.read_data(data, classes, workers, decode=detections is None)
        if folder is None and path is not None:
            folder = RunFolder(path).evaluation(data)
            source = {**inputs.source_of(path, dataset), "proposals": proposals, "probabilities": probabilities}
    if folder:
        OwnedFolder(folder, EVALUATION).check()  # before hours of detection
    detector = None if run is None else inputs.load_run(run, device, precision, probabilities)
    truncated = detector.truncated(svd) if detector and svd is not None else None
    runs = [one for one in (run, against if against and inputs.is_run(against) else None) if one is not None]
    trained_on = {} if rank() else inputs.count_trained_on(runs, dataset)
    others = None
    if against:
        load = partial(inputs.load_run, against, device, precision)
        others = {against: inputs.detections_of(against, dataset, data, workers, load, proposals)}
    found = _find(detector, path, detections, dataset, workers, proposals, probabilities)
    result = evaluate_detections(found, dataset, resamples, probabilities, others)
    if rank() and not truncated:
        return Summary({}, "")  # the first rank goes on alone
    result = replace(result, proposals=proposals, folder=folder, trained_on=trained_on)
    if truncated:
        cut = inputs.detect_dataset(truncated, dataset, workers, proposals)
        result = replace(result, ranks=svd, truncated=evaluate_voc(cut, dataset.images, dataset.classes))
    if folder and not rank():
        write_evaluation(folder, result, found, dataset, data.split, source)
        if source and path is not None:
            update_evaluations(RunFolder(path))
    return result


def _check_options(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for options of `evaluate` that do not go together."""
    run, detections, path = given["run"], given["detections"], isinstance(given["run"], (str, PathLike))
    if run is None and detections is None:
        raise ConfigError("give a run or --detections", field="run")
    if given["shard"] is not None:
        for field in ("detections", "probabilities", "against", "svd", "dataset"):
            if given[field]:
                raise ConfigError("is for all images: leave it out with --shard", field=field)
        if not path:
            raise ConfigError("a shard needs a run folder or detector file", field="run")
    if detections is not None and not (run is None or path):
        raise ConfigError("give a detector or detections, one of them", field="detections")
    for field, wanted in {"svd": given["svd"] is not None, "probabilities": given["probabilities"]}.items():
        if wanted and run is None:
            raise ConfigError("needs a run: detections have no layers and no calibration", field=field)
    if given["resamples"] < 0:
        raise ConfigError("out of range", field="resamples", expected="0 or more", got=given["resamples"])


def _find(
    detector: Detector | None,
    path: str | PathLike[str] | None,
    detections: str | None,
    dataset: Dataset,
    workers: int,
    proposals: str | None,
    probabilities: bool,
) -> list[Detections]:
    """Read the detections, or detect. path: of the run that they are of, if any."""
    from sppdet.commands.inputs import detect_dataset, origin_of
    from sppdet.data.results.files import read_results

    if detector:
        dataset.check_classes(detector.classes, path)
    if detections is not None:
        found = read_results(detections, dataset, None if path is None else origin_of(path, proposals))
    else:
        assert detector
        found = detect_dataset(detector, dataset, workers, proposals)
    return [detector.probabilities(one) for one in found] if detector and probabilities else found


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
    from sppdet.files.atomic import json_ready, write_json, write_lines
    from sppdet.files.owned import hold_folder

    with hold_folder(folder, EVALUATION):
        (folder / "source.json").unlink(missing_ok=True)
        rows = (f"{json.dumps(name)}: {json.dumps(json_ready(row))}" for name, row in result.voc.rows(curves=True))
        write_lines(folder / "curves.json", "{\n", rows, "\n}\n")
        plot_precision_recall(result.voc, folder / "precision_recall.png")
        write_coco_results(folder / "detections.json", detections, dataset)
        write_voc_results(folder / "comp4", detections, dataset, split)
        write_json(folder / "evaluation.json", result.as_dict())
        if source:
            write_json(folder / "source.json", source)
