"""The runs and detections that commands are given. Imports torch: commands import it inside their functions."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path

from torch import Tensor

from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.config.shard import Shard
from sppdet.data.checks.readable import keep_readable
from sppdet.data.dataset import read_dataset
from sppdet.data.results.files import comp4_files, read_results
from sppdet.data.results.shards import shard_files
from sppdet.detector import Detector
from sppdet.errors import ConfigError, DataError, WeightsError
from sppdet.files.atomic import content_key, read_json
from sppdet.files.run_check import check_run
from sppdet.files.run_folder import RunFolder
from sppdet.proposals.cache import propose
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import spread
from sppdet.structures import Dataset, Detections
from sppdet.wording import counted

logger = logging.getLogger(__name__)

IMAGE_KEYS = ("split", "max_images", "annotations")  # the keys of DataConfig that name the images

Run = str | PathLike[str] | Detector


def load_run(run: Run, device: Device, precision: Precision, probabilities: bool = False) -> Detector:
    """Load the detector of a run folder or file; a detector is returned as it is.

    Raises WeightsError if there is none, or if it has no calibration and `probabilities` are wanted.
    """
    if isinstance(run, Detector):
        detector, name = run, "detector"
    else:
        detector, name = Detector.load(run, device, precision), str(run)
    if probabilities and detector.calibration is None:
        way = "a detector of this version: remove detector.safetensors, and repeat the training; its heads are kept"
        raise WeightsError("gives no probabilities", file=name, field="calibration", expected=way)
    return detector


def classes_of(run: Run) -> tuple[str, ...]:
    """Return the classes of a run's detector; data are read before its network is built."""
    return tuple(run.classes) if isinstance(run, Detector) else RunFolder(run).classes("detector")


def read_data(
    data: DataConfig, classes: tuple[str, ...] | None, workers: int, decode: bool = True, shard: Shard | None = None
) -> Dataset:
    """Read the data set, or a shard of it, and check that its images can be decoded, if `decode` or if others are to be
    skipped."""
    dataset = read_dataset(data, classes)
    if shard:
        dataset = dataset.subset(shard.select(range(len(dataset))))
    if decode or data.skip_unreadable:
        (dataset,) = keep_readable([dataset], data.skip_unreadable, workers)
    return dataset


def count_trained_on(runs: Iterable[Run], dataset: Dataset) -> dict[str, int]:
    """Return how many of the images each run was trained on, by content; runs without any are left out."""
    known = [(str(run), RunFolder(run)) for run in runs if not isinstance(run, Detector)]
    recorded = [(name, folder) for name, folder in known if folder.images.is_file()]
    keys = [image.cache_key() for image in dataset.images] if recorded else []
    return {name: count for name, folder in recorded if (count := folder.trained_on(keys))}


def warn_trained_on(runs: Iterable[Run], dataset: Dataset) -> None:
    """Log for each run how many of the images it was trained on, if any."""
    for name, count in count_trained_on(runs, dataset).items():
        logger.warning("%s: %d of these %s were trained on", name, count, counted(len(dataset), "image"))


def data_of_run(run: Run | None, data: DataConfig) -> DataConfig:
    """Return `data`; without a root, fill its defaults, except IMAGE_KEYS, from the training data of the run, if any.

    Data that the training divided stay divided as the run recorded. Raises ConfigError if that leaves no root, or, for
    a run trained on COCO data, no annotation file.
    """
    if run is None or isinstance(run, Detector):
        return data
    check_run(run)
    folder = RunFolder(run)
    if not data.root:
        trained = folder.load_data()
        if trained.annotations and not data.annotations:
            reason = "the run was trained on an annotation file: give the one to evaluate on"
            raise ConfigError(reason, field="data.annotations", expected="--data.annotations FILE")
        default = vars(DataConfig())
        data = replace(trained, **{k: v for k, v in vars(data).items() if k in IMAGE_KEYS or v != default[k]})
    elif not folder.split.is_file() or Path(folder.load_data().root).resolve() != Path(data.root).resolve():
        return data
    return replace(data, split_file=str(folder.split)) if folder.split.is_file() and not data.split_file else data


def detect_dataset(
    detector: Detector, dataset: Dataset, workers: int, proposals: str | None = None
) -> list[Detections]:
    """Return all detections in each image; `proposals` is a file written by another program."""
    boxes = propose(dataset.images, replace(detector.config.proposals, file=proposals), workers)

    def find(i: int) -> tuple[Tensor, ...]:
        found = detector.detect(dataset.images[i].image, boxes[i])
        return found.boxes, found.labels, found.scores

    indices = range(len(dataset))
    pairs = zip(progress(indices, "detect"), trim_memory(spread(indices, find)), strict=True)
    return [Detections(boxes, labels, scores) for _, (boxes, labels, scores) in pairs]


def detections_of(
    path: str,
    dataset: Dataset,
    data: DataConfig,
    workers: int,
    load: Callable[[], Detector],
    proposals: str | None = None,
    raw: bool = False,
) -> list[Detections]:
    """Read detections from a file or folder, or detect with a run, unless its saved detections are of these images.

    load: returns the detector of the run. raw: saved scores may not be calibrated probabilities.
    """
    if not is_run(path):
        return read_results(path, dataset)
    saved = None if proposals else saved_detections(path, data, dataset, raw)
    if saved:
        logger.info("%s: reused as the detections of %s", saved, path)
        return read_results(saved, dataset)
    detector = load()
    dataset.check_classes(detector.classes, path)
    return detect_dataset(detector, dataset, workers, proposals)


def is_run(path: str) -> bool:
    """Return True for a run, False for COCO results and a folder of comp4 files or of shards."""
    file = Path(path)
    return file.suffix == ".safetensors" or (file.is_dir() and not comp4_files(file) and not shard_files(file))


def source_of(run: str | PathLike[str], dataset: Dataset) -> dict[str, str]:
    """Return content keys of the detector and of the images and annotations that detections come from."""
    return {"detector": _detector_key(run), "data": dataset.key()}


def origin_of(run: str | PathLike[str], proposals: str | None) -> dict[str, str | None]:
    """Return what detections of a run on any images come from, as their shards record it."""
    return {"detector": _detector_key(run), "proposals": proposals}


def _detector_key(run: str | PathLike[str]) -> str:
    return content_key(RunFolder(run).find("detector"))


def saved_detections(run: str, data: DataConfig, dataset: Dataset, raw: bool = False) -> Path | None:
    """Return the detections that `sppdet evaluate` wrote for a run on these images.

    None unless their source.json says that they are of this detector and, by content, of these images and annotations,
    made with selective search and, if `raw`, without calibration.
    """
    file = RunFolder(run).evaluation(data) / "source.json"
    if not file.is_file():
        return None
    source = read_json(file)
    wanted = {**source_of(run, dataset), "proposals": None, **({"probabilities": False} if raw else {})}
    same = isinstance(source, dict) and all(key in source and source[key] == wanted[key] for key in wanted)
    return file.with_name("detections.json") if same else None


def find_detections(run: str, data: DataConfig, dataset: Dataset) -> Path:
    """Return the detections that `sppdet evaluate` wrote. Raises DataError if `saved_detections` finds none."""
    file = saved_detections(run, data, dataset)
    if file is None:
        reason = "not found, or not of these images and this detector"
        place = RunFolder(run).evaluation(data) / "evaluation.json"
        command = f"what `sppdet evaluate {run}` writes, with the same --data options"
        raise DataError(reason, file=place, expected=command)
    return file
