"""The runs and detections that commands are given. Imports torch: commands import it inside their functions."""

import logging
from collections import Counter
from dataclasses import replace
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.data.detection_files import read_results
from sppdet.detector import Detector
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import read_json
from sppdet.files.run_folder import RunFolder
from sppdet.proposals.cache import propose
from sppdet.runtime.memory import trim_memory
from sppdet.structures import Dataset, Detections

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
        if Path(run).is_file() and Path(run).suffix != ".safetensors":
            raise WeightsError("is not a detector", file=run, expected="a run folder or detector.safetensors")
        detector, name = Detector.load(run, device, precision), str(run)
    if probabilities and detector.calibration is None:
        way = "a detector of this version: remove detector.safetensors, and repeat the training; its heads are kept"
        raise WeightsError("gives no probabilities", file=name, field="calibration", expected=way)
    return detector


def data_of_run(run: Run | None, data: DataConfig) -> DataConfig:
    """Return `data`; without a root, fill its defaults, except IMAGE_KEYS, from the training data of the run, if any.

    Data that the training divided stay divided as the run recorded. Raises ConfigError if that leaves no root, or, for
    a run trained on COCO data, no annotation file.
    """
    if run is None or isinstance(run, Detector):
        return data
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
    bar = tqdm(zip(dataset.images, boxes, strict=True), desc="detect", unit="image", total=len(dataset))
    return [detector.detect(image.image, proposed) for image, proposed in trim_memory(bar)]


def detections_of(
    path: str,
    dataset: Dataset,
    data: DataConfig,
    proposals: str | None,
    device: Device,
    precision: Precision,
    workers: int,
) -> list[Detections]:
    """Read detections from a file or folder, or detect with a run, unless its saved detections are of these images."""
    if not is_run(path):
        return read_results(path, dataset)
    saved = None if proposals else saved_detections(path, data, dataset)
    if saved:
        logger.info("%s: reused as the detections of %s", saved, path)
        return read_results(saved, dataset)
    detector = load_run(path, device, precision)
    dataset.check_classes(detector.classes, path)
    return detect_dataset(detector, dataset, workers, proposals)


def is_run(path: str) -> bool:
    """Return True for a run, False for COCO results and a folder of comp4 files."""
    file = Path(path)
    return file.suffix == ".safetensors" or (file.is_dir() and not any(file.glob("*_det_*.txt")))


def saved_detections(run: str, data: DataConfig, dataset: Dataset) -> Path | None:
    """Return the detections that `sppdet evaluate` wrote for a run on these images.

    None unless its evaluation is newer than the detector, made with selective search, and on the same number of images
    and of objects per class.
    """
    folder = RunFolder(run)
    file = folder.evaluation(data) / "evaluation.json"
    if not file.is_file() or file.stat().st_mtime < folder.find("detector").stat().st_mtime:
        return None
    numbers = read_json(file)
    counts = Counter(label for image in dataset.images for label in image.labels[~image.difficult].tolist())
    objects = [(name, counts[label]) for label, name in enumerate(dataset.classes, start=1)]
    try:
        saved = [(name, row["positives"]) for name, row in numbers["per_class"].items()]
        same = (numbers["images"], saved) == (len(dataset), objects) and "proposals" not in numbers
    except (KeyError, TypeError, AttributeError):  # JSON of something else
        return None
    return file.with_name("detections.json") if same else None
