"""Calibration of scores to probabilities: one increasing map per class, fitted to held-out detections."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sppdet.errors import InputError
from sppdet.structures import Detections, check_tensor
from sppdet.structures.checks import check_labels

Method = Literal["platt", "isotonic"]
Map = tuple[NDArray[np.float64], float]  # knots (M, 2) and slope of one class

IDENTITY: Map = (np.zeros((1, 2)), 1.0)  # log-odds are the score itself


class Calibration(nn.Module):
    """For each of K classes, an increasing polyline from a detection's score to the log-odds that it is correct.

    knots: float64 (K, M, 2), M points (score, log-odds) per class, both increasing; a class with fewer repeats its
    last. slope: float64 (K,), above 0: log-odds per unit of score, before the first knot and after the last.

    The maps increase, so the order within a class stays and with it the AP, except for scores so close that float32
    gives them one probability. Raises InputError for arrays of another type or shape, and maps that do not increase.
    """

    knots: Tensor
    slope: Tensor

    def __init__(self, knots: Tensor, slope: Tensor) -> None:
        super().__init__()
        check_tensor(knots, "calibration.knots", torch.float64, None, None, 2)
        check_tensor(slope, "calibration.slope", torch.float64, len(knots))
        if not knots.isfinite().all() or not knots.shape[1] or (knots.diff(dim=1) < 0).any():
            raise InputError("not increasing", field="calibration.knots", expected="1 or more finite, rising points")
        if not (slope.isfinite() & (slope > 0)).all():
            raise InputError("out of range", field="calibration.slope", expected="above 0", got=slope.tolist())
        self.register_buffer("knots", knots)
        self.register_buffer("slope", slope)

    def probabilities(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Convert scores (N,) of labels int64 (N,), 1..K, to probabilities float32 (N,) in [0, 1]."""
        check_labels(labels, "labels", len(self.slope))
        score, label = scores.cpu().double().numpy(), labels.cpu().numpy()
        log_odds = np.empty(len(score))
        for k in np.unique(label).tolist():
            of_class = label == k
            x, y = self.knots[k - 1].cpu().numpy().T
            within = score[of_class].clip(x[0], x[-1])
            beyond = score[of_class] - within
            log_odds[of_class] = np.interp(within, x, y) + float(self.slope[k - 1]) * beyond
        return torch.from_numpy(log_odds).sigmoid().float().to(scores.device)

    def calibrate(self, detections: Detections) -> Detections:
        """Replace the scores of detections with probabilities, most probable first."""
        scores = self.probabilities(detections.scores, detections.labels)
        order = scores.argsort(descending=True, stable=True)  # equal ones keep the order of their scores
        return replace(detections, scores=scores)[order]


def fit_calibration(
    examples: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]], method: Method = "platt"
) -> Calibration:
    """Fit a calibration of labels 1..K to held-out detections.

    examples: for each class, the scores (N,) of its detections and whether each is correct (N,).
    method: "platt", a straight line (Platt 1999), which needs few examples; or "isotonic", a polyline through the steps
    of isotonic regression, each at the mean score of its detections, so that no two scores tie, with Platt's slope
    beyond. The latter follows any shape and needs hundreds of correct detections per class.

    A class is calibrated on the detections of all classes together if its own are all correct, all incorrect, or not
    ranked better than chance; if that fails too, the score itself is used as the log-odds.
    Raises InputError for examples that are not finite or not of one length.
    """
    for k, (scores, correct) in enumerate(examples, start=1):
        if scores.shape != correct.shape or scores.ndim != 1 or not np.isfinite(scores).all():
            raise InputError("cannot be fitted", field=f"examples of label {k}", expected="finite scores, a flag each")
    fit = _fit_line if method == "platt" else _fit_steps
    columns = [(scores.astype(np.float64), correct.astype(bool)) for scores, correct in examples]
    own = [fit(*column) for column in columns]
    shared = IDENTITY
    if any(fitted is None for fitted in own):
        shared = fit(*(np.concatenate(parts) for parts in zip(*columns, strict=True))) or IDENTITY
    maps = [fitted or shared for fitted in own]
    most = max((len(knots) for knots, _ in maps), default=1)
    padded = [np.pad(knots, ((0, most - len(knots)), (0, 0)), mode="edge") for knots, _ in maps]
    knots = torch.from_numpy(np.array(padded).reshape(-1, most, 2))
    return Calibration(knots, torch.tensor([slope for _, slope in maps], dtype=torch.float64))


def _fit_line(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> Map | None:
    """Fit one knot and a slope; return None if there is nothing to fit or the slope is not above 0."""
    from sklearn.linear_model import LogisticRegression

    if correct.all() or not correct.any() or scores.min() == scores.max():
        return None
    middle, spread = scores.mean(), scores.std()
    incorrect_target, correct_target = _targets(correct)
    target = np.where(correct, correct_target, incorrect_target)
    # A target between 0 and 1 is the same example twice, correct with that weight and incorrect with the rest.
    standard = np.tile((scores - middle) / spread, 2)[:, None]
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)
    model.fit(standard, np.repeat([1, 0], len(scores)), np.concatenate([target, 1 - target]))
    slope = float(model.coef_[0, 0] / spread)
    return (np.array([[middle, model.intercept_[0]]]), slope) if slope > 0 else None


def _fit_steps(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> Map | None:
    """Fit a knot per step of isotonic regression. Fractions of 0 and 1 become Platt's targets, beyond all others."""
    from sklearn.isotonic import IsotonicRegression

    line = _fit_line(scores, correct)
    if line is None:
        return None
    steps = IsotonicRegression().fit_transform(scores, correct.astype(np.float64))
    fraction, step = np.unique(steps, return_inverse=True)
    center = np.bincount(step, scores) / np.bincount(step)
    fraction = fraction.clip(*_targets(correct))
    return np.stack([center, np.log(fraction / (1 - fraction))], axis=1), line[1]


def _targets(correct: NDArray[np.bool_]) -> tuple[float, float]:
    """Return target probabilities of incorrect and correct examples, short of 0 and 1 (Platt, section 2.2)."""
    positives, negatives = int(correct.sum()), int((~correct).sum())
    return 1 / (negatives + 2), (positives + 1) / (positives + 2)
