"""How many images are classified rightly, and how far chance may have shifted that."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import LEVEL, RESAMPLES, draw_images, interval


def topk_correct(probabilities: Tensor, labels: Tensor, top: int = 1) -> NDArray[np.float64]:
    """1 for each image (N,) whose label, 0..K-1, is among the `top` of its K probabilities (N, K), else 0; of equal
    ones the first class counts as more probable."""
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),):
        got = f"{tuple(probabilities.shape)} and {tuple(labels.shape)}"
        raise InputError("do not fit", field="labels", expected="(N,) with probabilities (N, K)", got=got)
    order = torch.sort(probabilities, dim=1, descending=True, stable=True).indices[:, :top]
    return (order == labels[:, None]).any(dim=1).double().numpy()


def mean_with_interval(values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """The `mean` of one number an image and the 95% `interval` of it over resamples of the images.

    Numbers may be 0 or 1, their means over the seeds of a training, or differences of two classifiers' on the same
    images, whose interval is then a paired one. It tells of the choice of test images only.
    """
    if resamples < 0:
        raise InputError("out of range", field="resamples", expected="0 or more", got=resamples)
    found: dict[str, Any] = {"mean": float(values.mean())}
    if resamples:
        drawn = draw_images(len(values), resamples, seed)
        means = np.array([counts @ values for counts in drawn]) / len(values)
        found |= {"interval": interval(means, found["mean"]), "level": LEVEL, "resamples": resamples}
    return found
