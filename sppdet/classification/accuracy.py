"""Accuracy of classification, and its confidence interval."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.classification.report import Mean
from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import LEVEL, RESAMPLES, draw_images, interval


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

    The numbers may be 0 or 1, means over several classifiers, or differences between two classifiers on the same
    images, whose interval is then paired.
    """
    if resamples < 0:
        raise InputError("out of range", field="resamples", expected="0 or more", got=resamples)
    mean = float(values.mean())
    if not resamples:
        return Mean(mean)
    means = np.array([counts @ values for counts in draw_images(len(values), resamples, seed)]) / len(values)
    low, high = interval(means, mean)
    return Mean(mean, (low, high), LEVEL, resamples)
