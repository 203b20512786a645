"""How far chance may have shifted a mAP: intervals from resampled images.

A resample draws as many images as there are, with replacement; an image drawn twice counts as two that hold the same.
What matches what inside an image stays as it is, so detections are matched once, and a resample only weights them by
how often their image was drawn. For a difference, both detectors get the same resamples. The interval tells of the
choice of test images only, not of training: other seeds of training shift a mAP as well.

Few images raise AP, as a class of few objects profits from luck more than it suffers, and detectors differ in how much:
two detectors with 39.9% and 36.3% on 500 test images of VOC2007 came on random halves of these to 40.9% and 38.4%, and
on resamples, where a third of the images are missing, to 40.4% and 37.9%. So intervals are bias-corrected percentiles
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3, without acceleration): where most resamples
lie above the mAP, the interval is shifted below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppdet.errors import InputError
from sppdet.evaluation.voc import Matches, check_iou, match_class
from sppdet.structures import Annotations, Detections, ImageId, check_detections

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class BootstrapMAP:
    """A mAP, the mean of several or the difference of two, on the images and on R resamples of them; fractions.

    map_voc07, map_area: on the images as they are, 11 points and area. resampled_voc07, resampled_area: float64 (R,),
    on each resample, NaN where it holds no object. images, seed: what was drawn from, and how.
    """

    map_voc07: float
    map_area: float
    resampled_voc07: NDArray[np.float64]
    resampled_area: NDArray[np.float64]
    images: tuple[ImageId, ...]
    seed: int

    @property
    def interval_voc07(self) -> tuple[float, float]:
        """Low and high end of the 95% interval of `map_voc07`; NaN where no resample holds an object."""
        return interval(self.resampled_voc07, self.map_voc07)

    @property
    def interval_area(self) -> tuple[float, float]:
        """Low and high end of the 95% interval of `map_area`; NaN where no resample holds an object."""
        return interval(self.resampled_area, self.map_area)

    @property
    def note(self) -> str:
        """What the intervals are made from, for a line below a table; empty without resamples."""
        return f"; 95% of {len(self.resampled_voc07)} resamples" if len(self.resampled_voc07) else ""

    def minus(self, other: BootstrapMAP) -> BootstrapMAP:
        """This detector's mAP less the other's, resample by resample.

        Raises InputError unless both were measured on the same images, resamples and seed.
        """
        self._check_draws(other)
        return BootstrapMAP(
            self.map_voc07 - other.map_voc07,
            self.map_area - other.map_area,
            self.resampled_voc07 - other.resampled_voc07,
            self.resampled_area - other.resampled_area,
            self.images,
            self.seed,
        )

    @staticmethod
    def mean(several: Sequence[BootstrapMAP]) -> BootstrapMAP:
        """The mean mAP of one or more detectors, such as of a recipe's seeds, resample by resample.

        Raises InputError unless all were measured on the same images, resamples and seed.
        """
        first, *others = several
        for other in others:
            first._check_draws(other)
        return BootstrapMAP(
            float(np.mean([one.map_voc07 for one in several])),
            float(np.mean([one.map_area for one in several])),
            np.mean([one.resampled_voc07 for one in several], axis=0),
            np.mean([one.resampled_area for one in several], axis=0),
            first.images,
            first.seed,
        )

    def as_dict(self) -> dict[str, Any]:
        """Both numbers under the names of the JSON output, with their `interval` where there are resamples."""
        maps = {"map_voc07": self.map_voc07, "map_area": self.map_area}
        if not len(self.resampled_voc07):
            return maps
        ends = {"map_voc07": self.interval_voc07, "map_area": self.interval_area}
        return maps | {"interval": ends | {"level": LEVEL, "resamples": len(self.resampled_voc07)}}

    def _check_draws(self, other: BootstrapMAP) -> None:
        if (self.images, self._draws()) != (other.images, other._draws()):
            raise InputError("not of the same images", field="other", expected=self._draws(), got=other._draws())

    def _draws(self) -> str:
        return f"{len(self.resampled_voc07)} resamples of {len(self.images)} images, seed {self.seed}"


def bootstrap_map(
    detections: Sequence[Detections],
    images: Sequence[Annotations],
    classes: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
    iou: float = 0.5,
) -> BootstrapMAP:
    """The mAP of `evaluate_voc`, for the same arguments, with its interval; `seed`: of the draws.

    A class without objects in a resample is left out of the mean of that resample, and a resample without any object
    out of the interval. Of equal scores, images keep their order, and the copies of a detection stand together.
    Two calls for the same images, resamples and seed draw the same images, which makes their difference
    (`BootstrapMAP.minus`) a paired one. Raises InputError as `evaluate_voc` does, and for resamples below 0.
    """
    check_detections(detections, images, classes)
    check_iou(iou)
    if resamples < 0:
        raise InputError("out of range", field="resamples", expected="0 or more", got=resamples)
    labels = range(1, len(classes) + 1)
    rankings = [_rank(match_class(detections, images, label, iou)) for label in labels]
    positives = _count_positives(images, len(classes))
    aps = np.empty((resamples + 1, len(classes), 2))
    as_they_are = np.ones(len(images), dtype=np.int64)
    for row, counts in zip(aps, chain([as_they_are], draw_images(len(images), resamples, seed)), strict=True):
        for k, (ranking, number) in enumerate(zip(rankings, counts @ positives, strict=True)):
            row[k] = _average_precisions(ranking, counts, int(number))
    present = (~np.isnan(aps)).sum(axis=1)
    voc07, voc10 = (np.nansum(aps, axis=1) / np.where(present, present, np.nan)).T  # (R + 1,) each
    ids = tuple(image.id for image in images)
    return BootstrapMAP(float(voc07[0]), float(voc10[0]), voc07[1:], voc10[1:], ids, seed)


def draw_images(images: int, resamples: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often each of so many images is drawn, int64 (images,), once for each resample."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(max(images, 1), size=images), minlength=images)


class _Ranking(NamedTuple):
    """The detections of a class that count, best score first, as far as the last correct one: AP ends there.

    images: int64 (N,), the place of each one's image. correct: int64 (M,), the places of the correct ones among them.
    """

    images: NDArray[np.int64]
    correct: NDArray[np.int64]


def _rank(matches: Matches) -> _Ranking:
    counted = ~matches.ignored
    correct = np.flatnonzero(matches.correct[counted])
    return _Ranking(matches.images[counted][: correct.max(initial=-1) + 1], correct)


def _count_positives(images: Sequence[Annotations], classes: int) -> NDArray[np.int64]:
    """Objects of each class to be found in each image, difficult ones left out: int64 (I, K)."""
    labels = [image.labels[~image.difficult].numpy() for image in images]
    counts = [np.bincount(of_image, minlength=classes + 1) for of_image in labels]
    return np.array(counts, dtype=np.int64).reshape(len(images), classes + 1)[:, 1:]


def _average_precisions(ranking: _Ranking, counts: NDArray[np.int64], positives: int) -> tuple[float, float]:
    """Both APs, 11 points and area, where each image counts `counts[i]` times; NaN without positives.

    The best precision from some recall on is that at a correct detection, and of its copies at the last: precision
    falls at wrong detections only.
    """
    if not positives:
        return float("nan"), float("nan")
    weights = counts[ranking.images]
    gained = weights[ranking.correct]  # (M,)
    true_positives = np.cumsum(gained)
    precision = true_positives / np.maximum(
        np.cumsum(weights)[ranking.correct], 1
    )  # 1: where no image so far was drawn
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Each of the recalls 0, 0.1 ... 1 is first reached at one correct detection; recall 0 at the first.
    points = np.diff(10 * true_positives // positives, prepend=-1)
    return float(points @ envelope) / 11, float(gained @ envelope) / positives


def interval(values: NDArray[np.float64], estimate: float) -> tuple[float, float]:
    """The bias-corrected 95% interval of a number with such values float64 (R,) on R resamples; NaN where all are.

    It is made to hold the number itself, which a correction of more than two standard deviations would leave out.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    normal = NormalDist()
    equal = np.isclose(values, estimate, rtol=1e-12, atol=0)
    below = (((values < estimate) & ~equal).mean() + ((values < estimate) | equal).mean()) / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))))
    shares = [normal.cdf(2 * bias + normal.inv_cdf(share)) for share in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)]
    low, high = np.quantile(values, shares)
    return min(float(low), estimate), max(float(high), estimate)
