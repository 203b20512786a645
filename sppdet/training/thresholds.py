"""From which score on a detection is worth drawing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sppdet.evaluation.voc import VOCResult


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
