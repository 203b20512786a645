"""Evaluation of classifiers on a folder of images."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sppdet.classification.accuracy import mean_with_interval, topk_correct
from sppdet.classification.classifier import Classifier
from sppdet.classification.report import Accuracy, ClassAccuracy
from sppdet.config.classification import ViewsConfig
from sppdet.config.network import Device, Precision
from sppdet.data.image_folder import ImageFolder, read_image_folder
from sppdet.errors import DataError
from sppdet.evaluation.bootstrap import RESAMPLES
from sppdet.files.atomic import hash_tensors
from sppdet.images import read_image
from sppdet.runtime.memory import trim_memory

TOP_K = (1, 5)

# By "top1" and "top5": 1 for each image (N,) that is classified correctly, else 0, or the mean over several runs.
TopK = dict[str, NDArray[np.float64]]


def evaluate_classifiers(
    runs: Sequence[str],
    folder: str,
    views: ViewsConfig,
    against: Sequence[str] = (),
    resamples: int = RESAMPLES,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> Accuracy:
    """Evaluate a classifier, or the mean of those of a recipe's seeds, on a folder of images.

    against: other runs to compare with. Raises DataError unless all were trained on the same classes.
    """
    classifiers = [Classifier.load(run, device, precision) for run in (*runs, *against)]
    classes = classifiers[0].classes
    for run, classifier in zip((*runs, *against), classifiers, strict=True):
        if classifier.classes != classes:
            expected, got = ", ".join(classes), ", ".join(classifier.classes)
            raise DataError("knows other classes than the first run", file=run, expected=expected, got=got)
    images = read_image_folder(folder, classes)
    correct = measure_topk_correct(classifiers, images, views)

    def average(names: Sequence[str], several: Sequence[TopK]) -> tuple[Accuracy, TopK]:
        mean = {key: np.mean([one[key] for one in several], axis=0) for key in several[0]}
        single = {name: float(one["top1"].mean()) for name, one in zip(names, several, strict=True)}
        return replace(summarize(mean, images, resamples), runs=single, views=views), mean

    result, ours = average(runs, correct[: len(runs)])
    if not against:
        return result
    others, theirs = average(against, correct[len(runs) :])
    difference = {key: mean_with_interval(ours[key] - theirs[key], resamples) for key in ours}
    return replace(result, against=others, difference=difference)


def measure_topk_correct(
    classifiers: Sequence[Classifier], images: ImageFolder, views: ViewsConfig | None = None
) -> list[TopK]:
    """Classify the images, and return for each classifier which are correct, top-1 and, of more than 5 classes, top-5.

    An image passes once through a network that several classifiers share, such as those of several seeds.
    """
    pooling = [_pooling_key(classifier) for classifier in classifiers]
    probabilities: list[list[Tensor]] = [[] for _ in classifiers]
    with tqdm(images.files, desc="classify", unit="image") as bar:
        for file in trim_memory(bar):
            image, pooled = read_image(file), {}
            for key, classifier, rows in zip(pooling, classifiers, probabilities, strict=True):
                if key not in pooled:
                    pooled[key] = classifier.pool_views(image, views)
                rows.append(classifier.head(pooled[key]).softmax(dim=1).mean(dim=0).cpu())
    top = [k for k in TOP_K if k == 1 or k < len(images.classes)]
    return [{f"top{k}": topk_correct(torch.stack(rows), images.labels, k) for k in top} for rows in probabilities]


def _pooling_key(classifier: Classifier) -> Hashable:
    """Return a key that is equal for classifiers with equal pooled features."""
    config = classifier.config
    settings = (
        classifier.backbone.name,
        config.view,
        config.sizes[0],
        config.levels,
        config.pyramid.mode,
        classifier.backbone.precision,
    )
    return hash_tensors(classifier.backbone.state_dict().values()), settings


def summarize(correct: TopK, images: ImageFolder, resamples: int = RESAMPLES) -> Accuracy:
    """Average over the images and over those of each class."""
    labels, top1 = images.labels.numpy(), correct["top1"]
    per_class = {
        images.classes[k]: ClassAccuracy(float(top1[labels == k].mean()), int((labels == k).sum()))
        for k in np.unique(labels)
    }
    means = {key: mean_with_interval(values, resamples) for key, values in correct.items()}
    return Accuracy(means, per_class, len(labels))
