import numpy as np
import torch
from factories import detect
from numpy.typing import NDArray

from sppdet.evaluation.voc import Curve, VOCResult
from sppdet.training.train import choose_thresholds


def curve(scores: list[float], right: list[bool], positives: int) -> Curve:
    found: NDArray[np.int64] = np.cumsum(np.array(right, dtype=np.int64), dtype=np.int64)
    return Curve(found, np.array(scores, dtype=np.float32), positives)


def test_thresholds_are_where_f1_is_best():
    curves = {
        # F1 after each: 2/3 (1 of 2), 1/2, 4/5 (2 of 3 right), 2/3
        "third": curve([3, 2, 1, -1], [True, False, True, False], 2),
        "first": curve([0.5, 0.25], [True, False], 1),
        "nothing right": curve([9, 8], [False, False], 3),
        "nothing found": curve([], [], 3),
        "no object": curve([7], [False], 0),
        "all": curve([4, -2], [True, True], 2),
    }
    median = 0.5  # of 1, 0.5 and -2
    expected = torch.tensor([1, 0.5, median, median, median, -2])
    assert torch.equal(choose_thresholds(VOCResult(curves, 0.5)), expected)


def test_thresholds_are_0_where_nothing_was_ever_right():
    assert choose_thresholds(VOCResult({"a": curve([1], [False], 1), "b": curve([], [], 0)}, 0.5)).tolist() == [0, 0]


def test_the_detections_that_make_f1_best_are_drawn():
    scores = [3.0, 2.0, 1.0, -1.0]
    thresholds = choose_thresholds(VOCResult({"a": curve(scores, [True, False, True, False], 2)}, 0.5))
    shown = detect([[0, 0, 1, 1]] * 4, scores).above(thresholds)
    assert shown.scores.tolist() == [3, 2, 1]
