import numpy as np
import torch
from factories import detect

from sppdet.evaluation.voc import Curve, VOCResult
from sppdet.training.train import choose_thresholds


def curve(scores: list[float], right: list[bool], positives: int) -> Curve:
    return Curve(np.cumsum(right, dtype=np.int64), np.array(scores, dtype=np.float32), positives)


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
    thresholds = choose_thresholds(VOCResult(curves, 0.5))
    assert torch.equal(thresholds, expected)
    shown = detect([[0, 0, 1, 1]] * 4, [3, 2, 1, -1]).above(thresholds)
    assert shown.scores.tolist() == [3, 2, 1]  # those that make F1 best


def test_thresholds_are_0_where_nothing_was_ever_right():
    assert choose_thresholds(VOCResult({"a": curve([1], [False], 1), "b": curve([], [], 0)}, 0.5)).tolist() == [0, 0]
