from math import isnan

import numpy as np
import pytest

from sppdet.errors import InputError
from sppdet.evaluation.evaluation import measure_reliability
from sppdet.evaluation.voc import Curve


def curve(scores: list[float], right: list[bool]) -> Curve:
    return Curve(np.cumsum(np.array(right, dtype=np.int64)), np.array(scores, dtype=np.float32), 5)


def test_bins_by_hand_and_of_nothing():
    curves = [curve([1.0, 0.75, 0.125], [True, False, False]), curve([0.875, 0.25], [True, True])]
    result = measure_reliability(curves, bins=4)
    # 0.25 and 0.75 open a bin; 1 is in the last.
    assert [part.detections for part in result.bins] == [1, 1, 0, 3]
    assert [(part.low, part.high) for part in result.bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    first, second, empty, last = result.bins
    assert (first.probability, first.correct) == (0.125, 0)
    assert (second.probability, second.correct) == (0.25, 1)
    assert isnan(empty.probability)
    assert isnan(empty.correct)
    assert (last.probability, last.correct) == (pytest.approx(2.625 / 3), pytest.approx(2 / 3))
    assert result.error == pytest.approx((0.125 + 0.75 + 0.625) / 5)
    assert result.as_dict()["error"] == result.error
    assert result.as_dict()["bins"][3]["detections"] == 3
    result = measure_reliability([curve([], [])])
    assert isnan(result.error)
    assert sum(part.detections for part in result.bins) == 0


def test_true_probabilities_have_a_small_error_and_others_a_large_one():
    rng = np.random.default_rng(0)
    probability = np.sort(rng.uniform(size=50_000))[::-1]
    right = rng.uniform(size=len(probability)) < probability
    assert measure_reliability([curve(probability, right)]).error < 0.01
    squared = measure_reliability([curve(probability**2, right)])
    assert 0.1 < squared.error < 0.25  # 1/2 - 1/3 in the mean
    assert all(part.correct > part.probability for part in squared.bins)


@pytest.mark.parametrize("score", [-0.5, 1.5, np.nan])
def test_scores_that_are_no_probabilities_are_named(score):
    with pytest.raises(InputError, match=r"scores: not a probability \(expected 0..1"):
        measure_reliability([curve([0.5, score], [True, False])])
