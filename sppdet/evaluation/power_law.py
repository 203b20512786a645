"""A power law with a floor: the error of a detector against the number of images that it was trained on.

    error(n) = floor + height · (n / N) ** -exponent,   floor >= 0, height >= 0, 0 < exponent <= 1

N is the largest number measured. Errors fall along such a curve for many models and tasks (Rosenfeld et al., A
Constructive Prediction of the Generalization Error Across Scales, 2020; for detectors Mahmood et al., How Much More
Data Do I Need?, 2022). The floor is what no number of images removes: objects without a proposal, features that are
not trained. A curve without it predicts too much. An exponent above 1 would be a faster fall than the variance of an
estimate has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sppdet.errors import InputError

PARAMETERS = 3
LEAST, MOST = 0.01, 1.0  # exponents
COARSE, FINE, ROUNDS = 100, 17, 3  # exponents tried: over the whole range, then around the best so far

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PowerLaws:
    """R curves, such as one for each resample. images: N. floor, height, exponent: float64 (R,); `height` is at N."""

    images: int
    floor: Values
    height: Values
    exponent: Values

    def errors(self, images: float) -> Values:
        """Return the errors at this number of training images, float64 (R,)."""
        return self.floor + self.height * (images / self.images) ** -self.exponent

    def needed(self, error: float) -> Values:
        """Return the numbers of training images at which the errors fall to `error`, float64 (R,); inf if never."""
        room = error - self.floor
        with np.errstate(divide="ignore", over="ignore"):
            factor = (self.height / np.where(room > 0, room, np.nan)) ** (1 / self.exponent)
        return np.where(room > 0, self.images * factor, np.inf)


def fit_power_laws(images: Sequence[int], errors: Values) -> PowerLaws:
    """Fit a curve to each row of errors float64 (R, P), measured at P numbers of images, by least squares.

    The best exponent is searched for; floor and height follow from it. Rows that do not fall get a height of 0. Raises
    InputError for fewer than 3 different numbers of images, through which any number of curves would pass.
    """
    if len(set(images)) < PARAMETERS:
        raise InputError("too few", field="images", expected=f"{PARAMETERS} different numbers", got=list(images))
    x = np.asarray(images, dtype=np.float64) / max(images)
    exponents = np.tile(np.linspace(LEAST, MOST, COARSE), (len(errors), 1))  # (R, B)
    step = (MOST - LEAST) / (COARSE - 1)
    rows = np.arange(len(errors))
    for _ in range(1 + ROUNDS):
        floor, height, loss = _fit_lines(x[None, None] ** -exponents[:, :, None], errors[:, None])
        best = rows, loss.argmin(axis=1)
        chosen = exponents[best]
        around = np.linspace(-step, step, FINE)
        exponents, step = np.clip(chosen[:, None] + around, LEAST, MOST), around[1] - around[0]
    return PowerLaws(max(images), floor[best], height[best], chosen)


def _fit_lines(t: Values, errors: Values) -> tuple[Values, Values, Values]:
    """Fit floor + height · t, neither below 0, to errors (R, 1, P) at t (R, B, P); return both and the loss, (R, B)."""
    centered, mean = t - t.mean(axis=2, keepdims=True), errors.mean(axis=2)
    height = (centered * errors).sum(axis=2) / (centered**2).sum(axis=2)
    floor = mean - height * t.mean(axis=2)
    # At most one of them is below 0, unless all errors are; the other is then fitted alone.
    alone = np.maximum((t * errors).sum(axis=2) / (t**2).sum(axis=2), 0)
    height, floor = np.where(floor < 0, alone, height), np.maximum(floor, 0)
    floor, height = np.where(height < 0, np.maximum(mean, 0), floor), np.maximum(height, 0)
    return floor, height, ((floor[..., None] + height[..., None] * t - errors) ** 2).sum(axis=2)
