"""The accuracy of classifiers on a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sppdet.classification.classifier import Classifier
from sppdet.classification.config import ViewsConfig
from sppdet.classification.views import predict
from sppdet.config import Device, Precision
from sppdet.data.image_folder import ImageFolder, read_image_folder
from sppdet.evaluation.accuracy import hits, mean_with_interval
from sppdet.evaluation.bootstrap import RESAMPLES
from sppdet.images import read_image
from sppdet.machine import releasing

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

    Returns what `summarise` gives, and `runs`, each one's top-1 accuracy; with others to compare with, the same of them
    as `against`, and the paired `difference`.
    """
    result, found = _evaluate(runs, folder, views, resamples, device, precision)
    if against:
        result["against"], others = _evaluate(against, folder, views, resamples, device, precision)
        common = [key for key in found if key in others]
        result["difference"] = {key: mean_with_interval(found[key] - others[key], resamples) for key in common}
    return result


def _evaluate(
    runs: Sequence[str], folder: str, views: ViewsConfig, resamples: int, device: Device, precision: Precision
) -> tuple[dict[str, Any], Hits]:
    each = []
    for run in runs:
        classifier = Classifier.load(run, device, precision)
        images = read_image_folder(folder, classifier.classes)
        each.append(measure_hits(classifier, images, views))
    mean = {key: np.mean([found[key] for found in each], axis=0) for key in each[0]}
    single = {run: float(found["top1"].mean()) for run, found in zip(runs, each, strict=True)}
    return summarise(mean, images, resamples) | {"runs": single, "views": asdict(views)}, mean


def measure_hits(classifier: Classifier, images: ImageFolder, views: ViewsConfig | None = None) -> Hits:
    """For each image whether its class is the most probable and, of more than 5, among the five most probable."""
    with tqdm(images.files, desc="classify", unit="image") as bar:
        probabilities = torch.stack([predict(classifier, read_image(file), views) for file in releasing(bar)]).cpu()
    return {f"top{n}": hits(probabilities, images.labels, n) for n in TOPS if n == 1 or n < len(images.classes)}


def summarise(found: Hits, images: ImageFolder, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The mean of each kind of hit with its interval, `per_class` the share of `top1`, and the number of `images`."""
    labels = images.labels.numpy()
    per_class = {
        images.classes[k]: {"top1": float(found["top1"][labels == k].mean()), "images": int((labels == k).sum())}
        for k in np.unique(labels)
    }
    tops = {key: mean_with_interval(values, resamples) for key, values in found.items()}
    return tops | {"per_class": per_class, "images": len(labels)}
