"""Evaluation of classifiers on a folder of images."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.classification.classifier import Classifier
from sppdet.config.classification import ViewsConfig
from sppdet.config.network import Device, Precision
from sppdet.config.record import as_dict
from sppdet.data.checks.readable import keep_readable_files
from sppdet.data.formats.image_folder import ImageFolder, read_image_folder
from sppdet.drawing.tables import percent
from sppdet.errors import DataError, InputError
from sppdet.evaluation.bootstrap import LEVEL, RESAMPLES, draw_images, interval
from sppdet.files.atomic import content_key, hash_tensors
from sppdet.files.run_folder import RunFolder
from sppdet.images import read_image
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import spread
from sppdet.wording import counted

logger = logging.getLogger(__name__)

THREADS = 2  # that look for unreadable images

# By "top1" and "top5": 1 for each image (N,) that is classified correctly, else 0, or the mean over several runs.
TopK = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Mean:
    """A mean over images and its 95% confidence interval over `resamples` resamples of them, if there are any.

    The interval covers the choice of test images only, not the seed of the training.
    """

    mean: float
    interval: tuple[float, float] | None = None
    resamples: int = 0

    def as_dict(self) -> dict[str, Any]:
        drawn = {"interval": self.interval, "level": LEVEL, "resamples": self.resamples}
        return {"mean": self.mean, **(drawn if self.interval else {})}

    def __str__(self) -> str:
        if not self.interval:
            return percent(self.mean)
        low, high = (100 * end for end in self.interval)
        return f"{percent(self.mean)} ({low:.1f} to {high:.1f}; 95% of {counted(self.resamples, 'resample')})"


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on `images` test images, of one classifier or the mean of several.

    topk: by "top1" and, of more than 5 classes, "top5". per_class: top1 and number of images of each class, by name.
    runs: the top-1 accuracy of each run.
    against: the accuracy of other runs on the same images. difference: how much higher it is here, paired.
    """

    topk: dict[str, Mean]
    per_class: dict[str, dict[str, Any]]
    images: int
    runs: dict[str, float] | None = None
    views: ViewsConfig | None = None
    against: Accuracy | None = None
    difference: dict[str, Mean] | None = None

    def as_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {key: mean.as_dict() for key, mean in self.topk.items()}
        values |= {"per_class": self.per_class, "images": self.images}
        if self.runs is not None and self.views is not None:
            values |= {"runs": self.runs, "views": as_dict(self.views)}
        if self.against and self.difference:
            values["against"] = self.against.as_dict()
            values["difference"] = {key: mean.as_dict() for key, mean in self.difference.items()}
        return values

    def __str__(self) -> str:
        lines = [(name, percent(one["top1"]), counted(one["images"], "image")) for name, one in self.per_class.items()]
        lines += [(key, str(mean), counted(self.images, "image")) for key, mean in self.topk.items()]
        if self.runs and len(self.runs) > 1:
            lines.append(("top1 of each", " ".join(map(percent, self.runs.values())), ""))
        if self.against and self.difference:
            for key, mean in self.difference.items():
                lines.append((f"{key}, others", str(self.against.topk[key]), ""))
                lines.append((f"{key}, more", str(mean), "(percentage points)"))
        return "\n".join(f"{name:16} {value:>7}   {note}".rstrip() for name, value, note in lines)


def topk_correct(probabilities: Tensor, labels: Tensor, k: int = 1) -> NDArray[np.float64]:
    """Return 1 for each image (N,) whose label, 0..K-1, is among the `k` highest of its probabilities (N, K), else 0.

    Of equal probabilities the first class counts as the higher one.
    """
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),):
        got = f"{tuple(probabilities.shape)} and {tuple(labels.shape)}"
        raise InputError("do not fit", field="labels", expected="(N,) with probabilities (N, K)", got=got)
    order = torch.sort(probabilities, dim=1, descending=True, stable=True).indices[:, :k]
    return (order == labels[:, None]).any(dim=1).double().numpy()


def mean_with_interval(values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0) -> Mean:
    """Return the mean of one number per image with its 95% interval over resamples of the images.

    The interval is paired if the numbers are differences between two classifiers on the same images.
    """
    mean = float(values.mean())
    means = np.array([counts @ values for counts in draw_images(len(values), resamples, seed)]) / len(values)
    return Mean(mean, interval(means, mean), resamples) if resamples else Mean(mean)


def evaluate_classifiers(
    runs: Sequence[str],
    folder: str,
    views: ViewsConfig,
    against: Sequence[str] = (),
    resamples: int = RESAMPLES,
    device: Device = "auto",
    precision: Precision = "fp32",
    skip_unreadable: bool = False,
    allow_outside: bool = False,
) -> Accuracy:
    """Evaluate a classifier, or the mean over a recipe's seeds, on a folder of images.

    against: other runs to compare with. Raises DataError unless all were trained on the same classes, and ImageError
    for images that cannot be decoded, unless they are skipped.
    """
    folders = {run: RunFolder(run) for run in (*runs, *against)}
    classes = folders[runs[0]].classes("classifier")
    for run, each in folders.items():
        if (names := each.classes("classifier")) != classes:
            expected, got = ", ".join(classes), ", ".join(names)
            raise DataError("knows other classes than the first run", file=run, expected=expected, got=got)
    images = read_image_folder(folder, classes, allow_outside)
    (images,) = keep_readable_files([images], skip_unreadable, THREADS, "--skip_unreadable")
    for run, each in folders.items():
        if each.images.is_file() and (count := each.trained_on([content_key(file) for file in images.files])):
            logger.warning("%s: %d of these %s were trained on", run, count, counted(len(images.files), "image"))
    classifiers = [Classifier.load(run, device, precision) for run in (*runs, *against)]
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

    An image passes once through a network that several classifiers share, such as the classifiers of several seeds.
    """
    keys = [_pooling_key(classifier) for classifier in classifiers]
    probabilities: list[list[Tensor]] = [[] for _ in classifiers]

    def classify(file: Path) -> tuple[Tensor, ...]:
        image, pooled = read_image(file), dict[Hashable, Tensor]()
        for key, classifier in zip(keys, classifiers, strict=True):
            if key not in pooled:
                pooled[key] = classifier.pool_views(image, views)
        several = zip(keys, classifiers, strict=True)
        return tuple(classifier.head(pooled[key]).softmax(dim=1).mean(dim=0).cpu() for key, classifier in several)

    for _, found in trim_memory(zip(progress(images.files, "classify"), spread(images.files, classify), strict=True)):
        for rows, row in zip(probabilities, found, strict=True):
            rows.append(row)
    top = (1, 5) if len(images.classes) > 5 else (1,)
    return [{f"top{k}": topk_correct(torch.stack(rows), images.labels, k) for k in top} for rows in probabilities]


def _pooling_key(classifier: Classifier) -> Hashable:
    """Return a key that is equal for classifiers with equal pooled features."""
    config, backbone = classifier.config, classifier.backbone
    weights = hash_tensors(backbone.state_dict().values())
    views = (config.view, config.sizes[0], config.levels, config.pyramid.mode, config.pyramid.unit_length)
    return weights, backbone.name, backbone.precision, views


def summarize(correct: TopK, images: ImageFolder, resamples: int = RESAMPLES) -> Accuracy:
    """Average over all images and over the images of each class."""
    labels, top1 = images.labels.numpy(), correct["top1"]
    per_class = {
        images.classes[k]: {"top1": float(top1[labels == k].mean()), "images": int((labels == k).sum())}
        for k in np.unique(labels)
    }
    means = {key: mean_with_interval(values, resamples) for key, values in correct.items()}
    return Accuracy(means, per_class, len(labels))
