"""Heads fitted to cached features: SVMs or softmax, and box regression."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sppdet.config.training import TrainConfig
from sppdet.errors import WeightsError
from sppdet.files.atomic import REMEDY, load_tensors, save_tensors
from sppdet.files.recorder import record, recorded, step
from sppdet.files.run_folder import RunFolder, run_key
from sppdet.heads.box_regression import fit_box_regression
from sppdet.heads.linear import Heads, LinearWeights
from sppdet.heads.softmax import fit_softmax
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import of_first, spread
from sppdet.training.account import FINAL, FIRST
from sppdet.training.examples import draw_examples
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.mining import MiningState, mine_svms
from sppdet.training.plots import plot_objective
from sppdet.training.sampling import box_regression_examples, softmax_examples
from sppdet.wording import counted

logger = logging.getLogger(__name__)

STEPS = {"train": FIRST, "all": FINAL, "start": "before fine-tuning"}


def fit_heads(
    run: RunFolder,
    name: str,
    cache: FeatureCache,
    images: list[int],
    classes: Sequence[str],
    config: TrainConfig,
    known: Sequence[int] = (),
) -> Heads:
    """Fit heads to the images with these indices, or read them if the run has fitted them in the step `name`.

    known: the images of the run's previous fit; mining resumes from its SVMs in the others.
    """
    file = run.heads(name)
    mines = config.head == "svm" and not known
    if not file.is_file() or (mines and not run.mined.is_file()):
        with step(file.stem):
            cache.fill(images)
            record("features", examples=len(images), computed=cache.computed, written_gb=cache.written / 1e9)
            logger.info("%s: fitting heads on %s", STEPS.get(name, name), counted(len(images), "image"))
            _fit(run, file, cache, images, classes, config, known)
    heads = Heads(config.head, len(classes), cache.dimension, config.box_regression.enabled)
    try:
        heads.load_state_dict(load_tensors(file, run_key(file))[0])
    except RuntimeError as error:
        raise WeightsError("does not fit this training", file=file, expected=REMEDY) from error
    return heads


def _fit(
    run: RunFolder,
    file: Path,
    cache: FeatureCache,
    images: list[int],
    classes: Sequence[str],
    config: TrainConfig,
    known: Sequence[int],
) -> None:
    """Fit heads, and write them and pictures of the fit. Arguments as of `fit_heads`."""
    match config.head:
        case "svm":
            start = MiningState.load(run.mined, cache, len(classes), config.svm) if known else None
            mined = mine_svms(cache, sorted(set(images) - set(known)), len(classes), config.svm, config.seed, start)
            if not known:
                mined.save(run.mined)
            scores = mined.linear(config.svm)
            if metrics := recorded():
                draw_examples(run.examples_picture, mined, cache.regions, classes, config.svm)
                plot_objective(metrics.of_step(file.stem, "refit"), file.with_suffix(".png"))
            del start, mined  # box regression takes the memory of their examples
        case "softmax":
            scores = _fit_softmax_layer(cache, images, len(classes), config)
    offsets = _fit_offsets(cache, images, len(classes), config) if config.box_regression.enabled else None
    save_tensors(file, Heads.from_linear(config.head, scores, offsets).state_dict(), key=run_key(file))
    record("stage", examples=len(images))


def _fit_softmax_layer(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> LinearWeights:
    """Fit a softmax layer. Memory: up to svm.max_examples in half precision, fewer per image if there are many images,
    but enough that foreground is among them: of still more images a random choice is learnt from."""
    softmax, most = config.softmax, config.svm.max_examples
    least = min(softmax.regions_per_image, math.ceil(1 / max(softmax.foreground, 1e-9)))
    if len(images) * least > most:
        order = np.random.default_rng(config.seed).permutation(images)
        images = sorted(order[: max(1, most // least)].tolist())
    softmax = replace(softmax, regions_per_image=min(softmax.regions_per_image, most // len(images)))
    features = torch.empty(softmax.regions_per_image * len(images), cache.dimension, dtype=torch.float16)
    labels = [torch.zeros(0, dtype=torch.int64)]
    count = 0

    def choose(i: int) -> tuple[Tensor, Tensor]:
        indices, label = softmax_examples(cache.regions[i], softmax, np.random.default_rng([config.seed, i]))
        return cache.features(i, indices).half(), label

    for _, (rows, label) in zip(progress(images, "softmax examples"), spread(images, choose), strict=True):
        features[count : count + len(rows)] = rows
        count += len(rows)
        labels.append(label)
    weights = fit_softmax(features[:count], torch.cat(labels), classes, softmax.weight_decay, softmax.iterations)
    return of_first(weights[0]), of_first(weights[1])


def _fit_offsets(cache: FeatureCache, images: list[int], classes: int, config: TrainConfig) -> LinearWeights:
    """Fit box regression. Memory: max_per_class examples of every class in half precision, of one class in single."""
    box_regression = config.box_regression
    labels = torch.cat([cache.regions[i].annotations.labels for i in images])
    objects = torch.bincount(labels, minlength=classes + 1)[1:].tolist()
    most = box_regression.max_per_class
    per_object = [min(box_regression.max_per_object, max(1, most // max(1, n))) for n in objects]
    rows: list[list[Tensor]] = [[] for _ in range(classes)]
    targets: list[list[Tensor]] = [[] for _ in range(classes)]
    used, available = torch.zeros(classes), torch.zeros(classes)

    def choose(i: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([config.seed, i])
        indices, label, offsets, near = box_regression_examples(cache.regions[i], per_object, box_regression, rng)
        room = used[label - 1] < most
        return cache.features(i, indices[room]).half().cpu(), label[room], offsets[room], near

    for _, found in zip(progress(images, "box regression examples"), spread(images, choose), strict=True):
        available += found[3]
        room = used[found[1] - 1] < most  # less than when another rank looked ahead
        features, label, offsets = (each[room] for each in found[:3])
        for k in label.unique().tolist():
            rows[k - 1].append(features[label == k])
            targets[k - 1].append(offsets[label == k])
            used[k - 1] += len(targets[k - 1][-1])
    norms = torch.cat([torch.zeros(0), *(chunk.float().norm(dim=1) for chunks in rows for chunk in chunks)])
    scale = config.svm.feature_norm / max(float(norms.mean()), 1e-12) if len(norms) else 1.0
    # The ridge is weighed against a sum over the examples, so it shrinks with the fraction of them that is used.
    ridge = (box_regression.ridge * used / available.clamp(min=1)).tolist()
    return fit_box_regression(rows, targets, cache.dimension, ridge, scale)
