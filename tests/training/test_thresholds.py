"""What a training works out from its configuration and its held-out curves: bounds of memory, and thresholds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import detect

from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError
from sppdet.evaluation.voc import Curve, VOCResult
from sppdet.training.room import bound_memory
from sppdet.training.thresholds import choose_thresholds


def test_memory_bounds_the_examples():
    config = TrainConfig()
    bounded = bound_memory(replace(config, memory_gb=2.5), dimension=25_600, classes=20)
    of_svm = bounded.svm.max_examples * (2 * 25_600 + 400)
    of_boxes = bounded.box_regression.max_per_class * 24 * 2 * 25_600
    assert 0.99e9 < of_svm <= 1e9
    assert 0.99e9 < of_boxes <= 1e9
    unbounded = bound_memory(replace(config, memory_gb=100), dimension=100, classes=2)
    assert (unbounded.svm, unbounded.box_regression) == (config.svm, config.box_regression)
    many = bound_memory(replace(config, memory_gb=8), dimension=25_600, classes=20, images=1_000_000)
    assert many.svm.max_examples * (2 * 25_600 + 400) <= (8 - 1.5 - 0.9 * 5) * 1e9  # 5 kB an image
    with pytest.raises(ConfigError, match="memory_gb: too little"):
        bound_memory(replace(config, memory_gb=1.501), dimension=25_600, classes=20)


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
