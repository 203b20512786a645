"""Training a detector, stage by stage: proposals, features, heads on the training part with thresholds chosen on the
held-out part, heads on everything. Each stage leaves what it made, so that an interrupted run goes on from there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.backbones.zoo import build_backbone
from sppdet.config import DetectorConfig, TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import DETECTOR_FILE, Detector
from sppdet.errors import ConfigError, DataError
from sppdet.evaluation.voc import VOCResult, evaluate_voc
from sppdet.features import build_features
from sppdet.heads.box_regression import fit_box_regression
from sppdet.heads.calibration import fit_calibration
from sppdet.heads.fully_connected import build_fully_connected
from sppdet.heads.linear import BoxRegressor, LinearHead
from sppdet.heads.softmax import fit_softmax, mean_norm
from sppdet.proposals.store import propose
from sppdet.storage import json_ready, load_tensors, read_json, save_tensors, write_json
from sppdet.structures import Dataset
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.mining import Mined, mine_svms
from sppdet.training.sampling import (
    TrainingRegions,
    box_regression_examples,
    count_box_regression_examples,
    softmax_examples,
)

log = logging.getLogger("sppdet")

# These say how a run is carried out, not what comes of it; a resumed run may change them.
HOW = ("workers", "cache_gb", "output")
BASE_GB = 1.5  # what training takes beside examples: programs, the network, one image's features
HELD_OUT = 5  # without a val split, every fifth image is held out


def train(config: TrainConfig) -> Detector:
    """Train the detector that `config` describes into `config.output`, going on where an earlier run stopped.

    Raises ConfigError for values that cannot be used and where the folder holds a run of another configuration.
    """
    _check_values(config)
    torch.manual_seed(config.seed)
    folder = Path(config.output)
    _claim(folder, config)
    if (folder / DETECTOR_FILE).is_file():
        log.info("%s is trained already; to train again, remove it or give another --output", folder)
        return Detector.load(folder, config.device, config.precision)
    dataset = read_dataset(config.data)
    dataset, fitted, held_out = _join_held_out(dataset, config)
    log.info(
        "%d images, %d classes; %d held out to choose thresholds", len(dataset), len(dataset.classes), len(held_out)
    )
    backbone = build_backbone(config.backbone.name, config.backbone.weights, config.device)
    layers = build_fully_connected(config, backbone)
    source = build_features(config, backbone, config.precision, layers)  # before the hours that proposals may take
    proposals = propose(dataset.images, config.proposals, config.workers)
    regions = [TrainingRegions.of(image, boxes) for image, boxes in zip(dataset.images, proposals, strict=True)]
    cache = FeatureCache(source, regions, config.cache_gb)
    cache.fill()
    config = _bound_memory(config, cache.dimension, len(dataset.classes))

    def fit(name: str, images: list[int], known: Sequence[int] = ()) -> Detector:
        file = folder / f"heads-{name}.safetensors"
        head, regressor = _fit_heads(file, cache, images, len(dataset.classes), config, known)
        settings = _detector_config(config)
        return Detector(settings, dataset.classes, backbone, head, regressor, precision=config.precision, layers=layers)

    training_part = sorted(set(fitted) - set(held_out))
    detector = fit("train", training_part)
    result = _evaluate_held_out(detector, dataset, cache, held_out)
    write_json(folder / "val.json", {"images": len(held_out), **result.as_dict()})
    log.info("held-out images: map_voc07 %.4f", result.map_voc07)
    thresholds = choose_thresholds(result)
    calibration = fit_calibration([(c.scores, c.right) for c in result.curves.values()], config.calibration)
    if len(training_part) < len(fitted):
        detector = fit("all", fitted, training_part)
    detector.thresholds, detector.calibration = thresholds, calibration
    detector.save(folder / DETECTOR_FILE)
    log.info("detector in %s", folder / DETECTOR_FILE)
    return detector


def _bound_memory(config: TrainConfig, dimension: int, classes: int) -> TrainConfig:
    """The same, keeping no more examples at once than `config.memory` allows.

    An example takes 2 bytes a feature, and while SVMs are fitted five numbers a class. Box regression keeps examples
    of every class, and two copies of one class's in single precision.
    """
    free = (config.memory - BASE_GB) * 1e9
    examples = int(free / (2 * dimension + 5 * 4 * classes))
    of_a_class = int(free / (2 * dimension * (classes + 4)))
    if of_a_class < 1:
        raise ConfigError("too little", field="memory", expected=f"more than {BASE_GB:g} GB", got=config.memory)
    boxes = config.box_regression
    return replace(
        config,
        svm=replace(config.svm, max_examples=min(config.svm.max_examples, examples)),
        box_regression=replace(boxes, per_class=min(boxes.per_class, of_a_class)),
    )


def _check_values(config: TrainConfig) -> None:
    if config.seed < 0:
        raise ConfigError("out of range", field="seed", expected="at least 0", got=config.seed)
    svm = config.svm
    positive = {"svm.C": svm.C, "svm.feature_norm": svm.feature_norm, "svm.max_examples": svm.max_examples}
    for field, value in (positive | {"box_regression.ridge": config.box_regression.ridge}).items():
        if value <= 0:
            raise ConfigError("out of range", field=field, expected="more than 0", got=value)


def choose_thresholds(result: VOCResult) -> Tensor:
    """For each class the score float32 (K,) with the best F1 on these curves; the median of the others where a class
    has no object or was never found."""
    chosen = torch.full((len(result.curves),), torch.nan)
    for k, curve in enumerate(result.curves.values()):
        if curve.positives and len(curve.scores):
            total = curve.precision + curve.recall
            f1 = 2 * curve.precision * curve.recall / np.maximum(total, 1e-12)
            if f1.max() > 0:
                chosen[k] = float(curve.scores[int(f1.argmax())])
    found = chosen[~chosen.isnan()]
    return chosen.nan_to_num(float(found.median()) if len(found) else 0.0)


def _claim(folder: Path, config: TrainConfig) -> None:
    """Write the configuration into a new run's folder, or check that it is the one its heads were fitted with."""
    file = folder / "config.json"
    wanted = json_ready(asdict(config))
    if not any(folder.glob("*.safetensors")):  # nothing here depends on a configuration yet
        write_json(file, wanted)
        return
    begun, now = _flatten(read_json(file)), _flatten(wanted)
    different = [key for key in now if key not in HOW and begun.get(key) != now[key]]
    if different:
        raise ConfigError(
            "holds a run of another configuration; choose another folder or remove it",
            file=folder,
            field="output",
            expected=", ".join(f"{key}={begun.get(key)}" for key in different),
            got=", ".join(f"{key}={now[key]}" for key in different),
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"svm": {"C": 1}} as {"svm.C": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _join_held_out(dataset: Dataset, config: TrainConfig) -> tuple[Dataset, list[int], list[int]]:
    """The images of the training split and of val in one data set, and the positions of each."""
    fitted = list(range(len(dataset)))
    val = _read_val(dataset, config)
    if val is not None:
        known = {image.path for image in dataset.images}
        limited = config.data.images is not None
        extra = [image for image in val.images if image.path not in known and not limited]
        joined = replace(dataset, images=(*dataset.images, *extra))
        position = {image.path: i for i, image in enumerate(joined.images)}
        held_out = [position[image.path] for image in val.images if image.path in position]
        if held_out and not set(fitted) <= set(held_out):
            among = f" that are among the first {len(fitted)} of the data" if limited else ""
            log.info("held out: the images of %s%s", config.val, among)
            return joined, fitted, held_out
    if len(fitted) < 2:
        raise DataError("too few images", field="data", expected="at least 2, one to be held out", got=len(fitted))
    which = "every fifth" if len(fitted) >= HELD_OUT else "the last"
    log.info("held out: %s image, as %s", which, "there is no val" if val is None else f"{config.val} has none or all")
    return dataset, fitted, fitted[HELD_OUT - 1 :: HELD_OUT] or fitted[-1:]


def _read_val(dataset: Dataset, config: TrainConfig) -> Dataset | None:
    """The images thresholds are chosen on, or None where the data have no default val split."""
    data = replace(config.data, images=None)
    default = config.val == TrainConfig.val
    if not config.val or (data.annotations and default):
        return None
    if data.annotations:
        return read_dataset(replace(data, annotations=config.val), dataset.classes)
    try:
        return read_dataset(replace(data, split=config.val), dataset.classes)
    except DataError as error:
        if default and error.field == "split":  # a data set of one's own need not have it
            return None
        raise


def _fit_heads(
    file: Path, cache: FeatureCache, images: list[int], classes: int, config: TrainConfig, known: Sequence[int]
) -> tuple[LinearHead, BoxRegressor | None]:
    """Both heads from the images at these positions, read from `file` where they were fitted before.

    SVMs of the `known` images are in the folder: the mining goes on from them, in the others.
    """
    if not file.is_file():
        log.info("fitting heads on %d images", len(images))
        if config.head == "svm":
            fitted = _fit_svm_head(file.parent / "mined.safetensors", cache, images, classes, config, known)
        else:
            fitted = _fit_softmax_head(cache, images, classes, config)
        made = {"weight": fitted.weight, "bias": fitted.bias}
        if config.box_regression.enabled:
            boxes = _fit_box_regressor(cache, images, classes, config)
            made |= {"box_weight": boxes.weight, "box_bias": boxes.bias}
        save_tensors(file, made, {"kind": fitted.kind})
    # Read back even when just written: matrix products round by where in memory their factors lie.
    tensors, header = load_tensors(file)
    head = LinearHead(header["kind"], tensors["weight"], tensors["bias"])
    regressor = BoxRegressor(tensors["box_weight"], tensors["box_bias"]) if "box_weight" in tensors else None
    return head, regressor


def _fit_svm_head(
    file: Path, cache: FeatureCache, images: list[int], classes: int, config: TrainConfig, known: Sequence[int]
) -> LinearHead:
    """`file` holds what was mined in the known images, or will."""
    if not known:
        mined = mine_svms(cache, images, classes, config.svm, config.seed)
        mined.save(file)
        return mined.head(config.svm)
    start = Mined.load(file, cache, classes, config.svm)
    others = sorted(set(images) - set(known))
    return mine_svms(cache, others, classes, config.svm, config.seed, start).head(config.svm)


def _fit_softmax_head(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> LinearHead:
    rows, labels = [], []
    for i in tqdm(images, desc="softmax examples", unit="image"):
        rng = np.random.default_rng([config.seed, i])
        indices, label = softmax_examples(cache.regions[i], config.softmax, rng)
        rows.append(cache.features(i, indices).half().cpu())
        labels.append(label)
    features = torch.cat(rows)
    return fit_softmax(features, torch.cat(labels), classes, config.softmax.weight_decay, config.softmax.iterations)


def _fit_box_regressor(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> BoxRegressor:
    """Memory: at most per_class examples of every class in half precision, and one class's in single.

    The regulariser weighs against a sum over the examples, so it shrinks with the share of them that is used.
    """
    settings = config.box_regression
    labels = torch.cat([cache.regions[i].annotations.labels for i in images])
    objects = torch.bincount(labels, minlength=classes + 1)[1:].tolist()
    per_object = [min(settings.per_object, max(1, settings.per_class // max(1, n))) for n in objects]
    rows: list[list[Tensor]] = [[] for _ in range(classes)]
    targets: list[list[Tensor]] = [[] for _ in range(classes)]
    used, available = torch.zeros(classes), torch.zeros(classes)
    for i in tqdm(images, desc="box regression examples", unit="image"):
        rng = np.random.default_rng([config.seed, i])
        indices, label, offsets = box_regression_examples(cache.regions[i], per_object, settings, rng)
        available += count_box_regression_examples(cache.regions[i], classes, settings)
        room = used[label - 1] < settings.per_class
        indices, label, offsets = indices[room], label[room], offsets[room]
        features = cache.features(i, indices).half().cpu()
        for k in label.unique().tolist():
            rows[k - 1].append(features[label == k])
            targets[k - 1].append(offsets[label == k])
            used[k - 1] += len(targets[k - 1][-1])
    norms = [mean_norm(part) for parts in rows for part in parts]
    scale = config.svm.feature_norm / (sum(norms) / len(norms)) if norms else 1.0
    ridge = (settings.ridge * used / available.clamp(min=1)).tolist()
    return fit_box_regression(rows, targets, cache.dimension, ridge, scale)


def _evaluate_held_out(detector: Detector, dataset: Dataset, cache: FeatureCache, held_out: list[int]) -> VOCResult:
    found = []
    for i in tqdm(held_out, desc="held-out images", unit="image"):
        regions = cache.regions[i]
        proposals = torch.arange(regions.objects, len(regions.boxes))
        outputs = cache.apply(i, detector.apply_heads, proposals)
        found.append(detector.detections(outputs, regions.boxes[proposals], cache.size(i)))
    return evaluate_voc(found, dataset.subset(held_out).images, dataset.classes)


def _detector_config(config: TrainConfig) -> DetectorConfig:
    """The detector's part, without the file of the training images' proposals: others need their own."""
    part = DetectorConfig(**{f.name: getattr(config, f.name) for f in fields(DetectorConfig)})
    return replace(part, proposals=replace(part.proposals, file=None))
