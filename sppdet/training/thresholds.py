"""The thresholds of the classes."""

import numpy as np
import torch
from torch import Tensor

from sppdet.evaluation.voc import VOCResult


def choose_thresholds(result: VOCResult) -> Tensor:
    """Return the score with the best F1 of each class, float32 (K,).

    Classes without objects or correct detections get the median of the others.
    """
    chosen = torch.full((len(result.curves),), torch.nan)
    for k, curve in enumerate(result.curves.values()):
        if curve.positives and len(curve.scores):
            total = curve.precision + curve.recall
            f1 = 2 * curve.precision * curve.recall / np.maximum(total, 1e-12)
            if f1.max() > 0:
                chosen[k] = float(curve.scores[int(f1.argmax())])
    others = chosen[~chosen.isnan()]
    return chosen.nan_to_num(float(others.median()) if len(others) else 0.0)
