"""Heads fitted to cached features: SVMs or softmax, and box regression."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.config.training import TrainConfig
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.files.run_folder import RunFolder
from sppdet.heads.box_regression import fit_box_regression
from sppdet.heads.linear import BoxRegressor, LinearHead
from sppdet.heads.softmax import fit_softmax
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.mining import MiningState, mine_svms
from sppdet.training.sampling import box_regression_examples, count_box_regression_examples, softmax_examples

logger = logging.getLogger(__name__)


def fit_heads(
    run: RunFolder,
    name: str,
    cache: FeatureCache,
    images: list[int],
    classes: int,
    config: TrainConfig,
    known: Sequence[int] = (),
) -> tuple[LinearHead, BoxRegressor | None]:
    """Fit both heads to the images at these positions, or read them if the run has fitted them in the step `name`.

    known: the images of the run's previous fit, from whose SVMs mining resumes in the others.
    """
    file = run.heads(name)
    if not file.is_file():
        cache.fill(images)
        logger.info("fitting heads on %d images", len(images))
        if config.head == "svm":
            fitted = _fit_svm_head(run.mined, cache, images, classes, config, known)
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
    start = MiningState.load(file, cache, classes, config.svm)
    others = sorted(set(images) - set(known))
    return mine_svms(cache, others, classes, config.svm, config.seed, start).head(config.svm)


def _fit_softmax_head(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> LinearHead:
    """Memory: at most svm.max_examples in half precision, fewer an image where there are many images."""
    room = max(1, config.svm.max_examples // len(images))
    settings = replace(config.softmax, regions_per_image=min(config.softmax.regions_per_image, room))
    features = torch.empty(settings.regions_per_image * len(images), cache.dimension, dtype=torch.float16)
    labels = [torch.zeros(0, dtype=torch.int64)]
    count = 0
    for i in tqdm(images, desc="softmax examples", unit="image"):
        indices, label = softmax_examples(cache.regions[i], settings, np.random.default_rng([config.seed, i]))
        features[count : count + len(indices)] = cache.features(i, indices)
        count += len(indices)
        labels.append(label)
    known = features[:count], torch.cat(labels)
    return fit_softmax(*known, classes, settings.weight_decay, settings.iterations)


def _fit_box_regressor(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> BoxRegressor:
    """Memory: at most per_class examples of every class in half precision, and one class's in single.

    The regularizer weighs against a sum over the examples, so it shrinks with the share of them that is used.
    """
    settings = config.box_regression
    labels = torch.cat([cache.regions[i].annotations.labels for i in images])
    objects = torch.bincount(labels, minlength=classes + 1)[1:].tolist()
    per_object = [min(settings.max_per_object, max(1, settings.max_per_class // max(1, n))) for n in objects]
    rows: list[list[Tensor]] = [[] for _ in range(classes)]
    targets: list[list[Tensor]] = [[] for _ in range(classes)]
    used, available = torch.zeros(classes), torch.zeros(classes)
    for i in tqdm(images, desc="box regression examples", unit="image"):
        rng = np.random.default_rng([config.seed, i])
        indices, label, offsets = box_regression_examples(cache.regions[i], per_object, settings, rng)
        available += count_box_regression_examples(cache.regions[i], classes, settings)
        room = used[label - 1] < settings.max_per_class
        indices, label, offsets = indices[room], label[room], offsets[room]
        features = cache.features(i, indices).half().cpu()
        for k in label.unique().tolist():
            rows[k - 1].append(features[label == k])
            targets[k - 1].append(offsets[label == k])
            used[k - 1] += len(targets[k - 1][-1])
    norms = torch.cat([torch.zeros(0), *(part.float().norm(dim=1) for parts in rows for part in parts)])
    scale = config.svm.feature_norm / max(float(norms.mean()), 1e-12) if len(norms) else 1.0
    ridge = (settings.ridge * used / available.clamp(min=1)).tolist()
    return fit_box_regression(rows, targets, cache.dimension, ridge, scale)
