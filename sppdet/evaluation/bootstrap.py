"""Confidence intervals of mAP by the bootstrap over images.

A resample draws as many images as there are, with replacement. Matches within an image do not change, so detections
are matched once and weighted by how often their image was drawn. For a difference, both detectors get the same
resamples. The interval covers the choice of test images only: another seed of training shifts a mAP as well.

AP is biased upwards on few images, because a class with few objects gains more from luck than it loses, and detectors
differ in this bias: mAPs of 39.9% and 36.3% on 500 test images of VOC2007 became 40.4% and 37.9% on resamples, which
lack a third of the images. Intervals are therefore bias-corrected percentiles (Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, section 14.3, without acceleration): if most resamples lie above the mAP, they are shifted down.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sppdet.errors import InputError
from sppdet.evaluation.matching import Matches, check_iou, match_classes
from sppdet.evaluation.voc import best_from_here
from sppdet.structures import Annotations, Detections, ImageId, check_detections
from sppdet.wording import counted

RESAMPLES = 1000
LEVEL = 0.95

# int64 (N,), index of the image of each detection of a class, and int64 (M,), indices of the correct detections.
_Ranking = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class BootstrapMAP:
    """A mAP, a mean of mAPs or a difference of two, on the images and on R resamples of them; fractions.

    resampled_voc07, resampled_area: float64 (R,), value on each resample, NaN if it has no objects. images: their ids.
    """

    map_voc07: float
    map_area: float
    resampled_voc07: NDArray[np.float64]
    resampled_area: NDArray[np.float64]
    images: tuple[ImageId, ...]
    seed: int

    @property
    def interval_voc07(self) -> tuple[float, float]:
        """Ends of the 95% confidence interval of `map_voc07`; NaN if no resample has an object."""
        return interval(self.resampled_voc07, self.map_voc07)

    @property
    def interval_area(self) -> tuple[float, float]:
        """The same of `map_area`."""
        return interval(self.resampled_area, self.map_area)

    def minus(self, other: BootstrapMAP) -> BootstrapMAP:
        """Return this mAP minus the other's, resample by resample.

        Raises InputError unless both have the same images, number of resamples and seed.
        """
        return _combine([self, other], lambda ours, theirs: ours - theirs)

    @staticmethod
    def mean(several: Sequence[BootstrapMAP]) -> BootstrapMAP:
        """Return the mean mAP of one or more detectors, such as several seeds; raises InputError as `minus` does."""
        return _combine(several, lambda *values: np.mean(values, axis=0))

    @staticmethod
    def over_seeds(several: Sequence[BootstrapMAP]) -> BootstrapMAP:
        """Return the mean mAP of one or more seeds, with resamples of the seeds as well as of the images.

        A resample draws one seed fewer than there are, with replacement, which gives the mean of few seeds its variance
        without bias (Rao and Wu, Resampling Inference with Complex Survey Data, 1988). Calls with as many seeds draw
        the same ones: they stay paired if seeds are in the same order. Raises InputError as `minus` does.
        """
        seeds, rng = len(several), np.random.default_rng([several[0].seed, len(several)])
        drawn = rng.integers(seeds, size=(max(seeds - 1, 1), len(several[0].resampled_voc07)))

        def average(*values: Any) -> Any:
            return np.mean(values if np.ndim(values) == 1 else np.take_along_axis(np.array(values), drawn, 0), axis=0)

        return _combine(several, average)

    def as_dict(self) -> dict[str, Any]:
        """Return both numbers under the names of the JSON output, with their `interval` if there are resamples."""
        maps = {"map_voc07": self.map_voc07, "map_area": self.map_area}
        if not len(self.resampled_voc07):
            return maps
        ends = {"map_voc07": self.interval_voc07, "map_area": self.interval_area}
        return maps | {"interval": ends | {"level": LEVEL, "resamples": len(self.resampled_voc07)}}

    def _draws(self) -> str:
        resamples = counted(len(self.resampled_voc07), "resample")
        return f"{resamples} of {counted(len(self.images), 'image')}, seed {self.seed}"


def _combine(several: Sequence[BootstrapMAP], function: Callable[..., Any]) -> BootstrapMAP:
    """Apply a function of as many numbers or arrays to each field."""
    first = several[0]
    for other in several:
        if (first.images, first._draws()) != (other.images, other._draws()):
            raise InputError("not of the same images", field="other", expected=first._draws(), got=other._draws())
    fields = ((one.map_voc07, one.map_area, one.resampled_voc07, one.resampled_area) for one in several)
    voc07, area, resampled_voc07, resampled_area = (function(*values) for values in zip(*fields, strict=True))
    return BootstrapMAP(float(voc07), float(area), resampled_voc07, resampled_area, first.images, first.seed)


class Seeds:
    """Results of several seeds on the same images. runs: their mAPs."""

    runs: tuple[BootstrapMAP, ...]

    @property
    def maps(self) -> tuple[float, ...]:
        """VOC07 mAP of each seed, a fraction."""
        return tuple(run.map_voc07 for run in self.runs)

    @property
    def std(self) -> float | None:
        """Standard deviation of `maps`; None for one seed."""
        return statistics.stdev(self.maps) if len(self.maps) > 1 else None


def bootstrap_map(
    detections: Sequence[Detections],
    images: Sequence[Annotations],
    classes: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    iou: float = 0.5,
) -> BootstrapMAP:
    """Compute the mAP of `evaluate_voc`, for the same arguments, with its confidence interval.

    A class without objects in a resample is left out of its mean, and a resample without objects out of the interval.
    Equal scores keep the order of the images, with the copies of a detection together. Calls with the same images,
    resamples and seed draw the same images, so `BootstrapMAP.minus` is a paired difference.
    Raises InputError as `evaluate_voc` and `draw_images` do.
    """
    check_detections(detections, images, classes)
    check_iou(iou)
    draws = draw_images(len(images), resamples, seed)
    rankings = [_rank(matches) for matches in match_classes(detections, images, len(classes), iou)]
    objects = [image.labels[~image.difficult].numpy() for image in images]
    counted = [np.bincount(labels, minlength=len(classes) + 1) for labels in objects]
    positives = np.array(counted, dtype=np.int64).reshape(len(images), len(classes) + 1)[:, 1:]  # (I, K)
    aps = np.empty((resamples + 1, len(classes), 2))
    for row, counts in zip(aps, chain([np.ones(len(images), dtype=np.int64)], draws), strict=True):
        for k, (ranking, number) in enumerate(zip(rankings, counts @ positives, strict=True)):
            row[k] = _average_precisions(ranking, counts, int(number))
    present = (~np.isnan(aps)).sum(axis=1)
    voc07, area = (np.nansum(aps, axis=1) / np.where(present, present, np.nan)).T  # (R + 1,) each
    ids = tuple(image.id for image in images)
    return BootstrapMAP(float(voc07[0]), float(area[0]), voc07[1:], area[1:], ids, seed)


def draw_images(images: int, resamples: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Return for each resample how often each image is drawn, int64 (images,). Raises InputError if `resamples` < 0."""
    if resamples < 0:
        raise InputError("out of range", field="resamples", expected="0 or more", got=resamples)
    rng = np.random.default_rng(seed)
    return (np.bincount(rng.integers(max(images, 1), size=images), minlength=images) for _ in range(resamples))


def _rank(matches: Matches) -> _Ranking:
    """Take the detections that are not ignored, best score first, up to the last correct one, where AP ends."""
    counted = ~matches.ignored
    correct = np.flatnonzero(matches.correct[counted])
    return matches.images[counted][: correct.max(initial=-1) + 1], correct


def _average_precisions(ranking: _Ranking, counts: NDArray[np.int64], positives: int) -> tuple[float, float]:
    """Return both APs, 11 points and area, with image i repeated `counts[i]` times; NaN without positives."""
    if not positives:
        return float("nan"), float("nan")
    images, correct = ranking
    weights = counts[images]
    gained = weights[correct]  # (M,)
    cumulative_tp = np.cumsum(gained)
    precision = cumulative_tp / np.maximum(np.cumsum(weights)[correct], 1)  # 1: no image so far was drawn
    # Precision falls at incorrect detections only: the best from some recall on is at the last copy of a correct one.
    envelope = best_from_here(precision)
    # Each of the recalls 0, 0.1 ... 1 is first reached at a correct detection, recall 0 at the first one.
    points = np.diff(10 * cumulative_tp // positives, prepend=-1)
    return float(points @ envelope) / 11, float(gained @ envelope) / positives


def interval(values: NDArray[np.float64], estimate: float) -> tuple[float, float]:
    """Return the bias-corrected 95% interval of `estimate` from its values float64 (R,) on R resamples.

    NaN if all values are. The interval is widened to include the estimate, which a bias of more than two standard
    deviations would leave out.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    normal = NormalDist()
    equal = np.isclose(values, estimate, rtol=1e-12, atol=0)
    below = (((values < estimate) & ~equal).mean() + ((values < estimate) | equal).mean()) / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))))
    levels = [normal.cdf(2 * bias + normal.inv_cdf(level)) for level in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)]
    low, high = np.quantile(values, levels)
    return min(float(low), estimate), max(float(high), estimate)
