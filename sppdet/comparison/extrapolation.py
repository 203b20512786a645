"""What more training images would give: a power law through the mAPs of detectors trained on few, and its uncertainty.

The curve (see `evaluation.power_law`) is fitted to the mAPs, and again to those on each resample of the evaluation
images, the same for all detectors. Intervals are percentiles of what these curves say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sppdet.evaluation.bootstrap import LEVEL, BootstrapMAP
from sppdet.evaluation.power_law import PARAMETERS, PowerLaws, fit_power_laws

MOST_TIMES = 100  # times the largest number of images; a number needed above it is not named

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number, and the ends of its 95% interval, which includes it."""

    value: float
    interval: tuple[float, float]

    @staticmethod
    def of(values: Values) -> Estimate:
        """Take the first of values float64 (1 + R,), and the percentiles of the others; R may be 0."""
        first, others = float(values[0]), values[1:] if len(values) > 1 else values
        tail = 0.5 - LEVEL / 2
        low, high = np.quantile(others, tail, method="lower"), np.quantile(others, 1 - tail, method="higher")
        return Estimate(first, (min(float(low), first), max(float(high), first)))


@dataclass(frozen=True)
class Prediction:
    """The fitted VOC07 mAP for a multiple of the images, and its gain over the largest number measured; fractions."""

    multiple: float
    images: int
    map_voc07: Estimate
    gain: Estimate


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """A curve through the VOC07 mAPs at 3 or more numbers of training images, in rising order.

    maps: float64 (1 + R, P), the mAPs, then those on R resamples (see `resampled_maps`).
    """

    images: tuple[int, ...]
    maps: Values

    @cached_property
    def laws(self) -> PowerLaws:
        """The curves of all rows of `maps`. Raises InputError for fewer than 3 numbers of images."""
        return fit_power_laws(self.images, 1 - self.maps)

    def predict(self, multiple: float) -> Prediction:
        """Return what `multiple` times the largest number of images would give."""
        images = multiple * self.images[-1]
        maps, largest = 1 - self.laws.errors(images), 1 - self.laws.errors(self.images[-1])
        return Prediction(multiple, round(images), Estimate.of(maps), Estimate.of(maps - largest))

    @property
    def limit(self) -> Estimate:
        """The mAP that the curve approaches."""
        return Estimate.of(1 - self.laws.floor)

    def needed(self, map_voc07: float) -> Estimate:
        """Return the number of images for a mAP; inf if it is more than MOST_TIMES the largest measured."""
        numbers = self.laws.needed(1 - map_voc07)
        return Estimate.of(np.where(numbers > MOST_TIMES * self.images[-1], np.inf, numbers))

    @property
    def check(self) -> tuple[Estimate, Estimate] | None:
        """The last mAP as the others predict it, and this minus the measured one; None for 3 numbers of images."""
        if len(self.images) == PARAMETERS:
            return None
        predicted = 1 - fit_power_laws(self.images[:-1], 1 - self.maps[:, :-1]).errors(self.images[-1])
        return Estimate.of(predicted), Estimate.of(predicted - self.maps[:, -1])


def resampled_maps(means: Sequence[BootstrapMAP]) -> Values:
    """Return the VOC07 mAPs of P detectors, then those on each resample that has objects, float64 (1 + R, P).

    Few images bias mAP upwards (see `evaluation.bootstrap`), resamples once more. Resampled mAPs are lowered by twice
    this bias, so that their percentiles are near the bias-corrected intervals.
    """
    columns = []
    for mean in means:
        resampled = mean.resampled_voc07[~np.isnan(mean.resampled_voc07)]
        bias = resampled.mean() - mean.map_voc07 if len(resampled) else 0.0
        columns.append(np.append(mean.map_voc07, resampled - 2 * bias))
    return np.stack(columns, axis=1)
