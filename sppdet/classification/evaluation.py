"""The accuracy of classifiers on a folder of images."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sppdet.classification.accuracy import mean_with_interval, topk_correct
from sppdet.classification.classifier import Classifier
from sppdet.classification.views import pool_views
from sppdet.config.classification import ViewsConfig
from sppdet.config.network import Device, Precision
from sppdet.config.record import as_dict
from sppdet.data.image_folder import ImageFolder, read_image_folder
from sppdet.errors import DataError
from sppdet.evaluation.bootstrap import RESAMPLES
from sppdet.files.atomic import hash_tensors
from sppdet.images import read_image
from sppdet.runtime.memory import trim_memory

TOPS = (1, 5)

# By kind, "top1" or "top5", 1 for each image (N,) that is classified rightly, else 0, or its mean over several runs.
Hits = dict[str, NDArray[np.float64]]


def evaluate_classifiers(
    runs: Sequence[str],
    folder: str,
    views: ViewsConfig,
    against: Sequence[str] = (),
    resamples: int = RESAMPLES,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Accuracy on a folder of images: of one classifier, or the mean over those of a recipe's seeds.

    Returns what `summarize` gives, and `runs`, each one's top-1 accuracy; with others to compare with, the same of them
    as `against`, and the paired `difference`. Raises DataError unless all know the same classes.
    """
    classifiers = [Classifier.load(run, device, precision) for run in (*runs, *against)]
    classes = classifiers[0].classes
    for run, classifier in zip((*runs, *against), classifiers, strict=True):
        if classifier.classes != classes:
            expected, got = ", ".join(classes), ", ".join(classifier.classes)
            raise DataError("knows other classes than the first run", file=run, expected=expected, got=got)
    images = read_image_folder(folder, classes)
    each = measure_topk_correct(classifiers, images, views)

    def mean(names: Sequence[str], several: Sequence[Hits]) -> tuple[dict[str, Any], Hits]:
        topk_correct = {key: np.mean([one[key] for one in several], axis=0) for key in several[0]}
        single = {name: float(one["top1"].mean()) for name, one in zip(names, several, strict=True)}
        return summarize(topk_correct, images, resamples) | {"runs": single, "views": as_dict(views)}, topk_correct

    result, found = mean(runs, each[: len(runs)])
    if against:
        result["against"], others = mean(against, each[len(runs) :])
        result["difference"] = {key: mean_with_interval(found[key] - others[key], resamples) for key in found}
    return result


def measure_topk_correct(
    classifiers: Sequence[Classifier], images: ImageFolder, views: ViewsConfig | None = None
) -> list[Hits]:
    """For each classifier and image whether its class is the most probable and, of more than 5, among the five most
    probable. An image passes once through a network that several classifiers share, such as seeds with frozen ones."""
    pooling = [_pooling_key(classifier) for classifier in classifiers]
    found: list[list[Tensor]] = [[] for _ in classifiers]
    with tqdm(images.files, desc="classify", unit="image") as bar:
        for file in trim_memory(bar):
            image, pooled = read_image(file), {}
            for key, classifier, rows in zip(pooling, classifiers, found, strict=True):
                if key not in pooled:
                    pooled[key] = pool_views(classifier, image, views)
                rows.append(classifier.head(pooled[key]).softmax(dim=1).mean(dim=0).cpu())
    tops = [n for n in TOPS if n == 1 or n < len(images.classes)]
    return [{f"top{n}": topk_correct(torch.stack(rows), images.labels, n) for n in tops} for rows in found]


def _pooling_key(classifier: Classifier) -> Hashable:
    """The same for classifiers whose pooled features are."""
    config = classifier.config
    seen = (
        classifier.backbone.name,
        config.view,
        config.sizes[0],
        config.levels,
        config.pyramid.mode,
        classifier.backbone.precision,
    )
    return hash_tensors(classifier.backbone.state_dict().values()), seen


def summarize(found: Hits, images: ImageFolder, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The mean of each kind of hit with its interval, `per_class` the share of `top1`, and the number of `images`."""
    labels = images.labels.numpy()
    per_class = {
        images.classes[k]: {"top1": float(found["top1"][labels == k].mean()), "images": int((labels == k).sum())}
        for k in np.unique(labels)
    }
    tops = {key: mean_with_interval(values, resamples) for key, values in found.items()}
    return tops | {"per_class": per_class, "images": len(labels)}
