from dataclasses import replace

import pytest

from sppdet.config.training import TrainConfig
from sppdet.errors import ConfigError
from sppdet.training.train import bound_memory


def test_memory_bounds_the_examples():
    config = TrainConfig()
    bounded = bound_memory(replace(config, memory_gb=2.5), dimension=25_600, classes=20)
    of_svm = bounded.svm.max_examples * (2 * 25_600 + 400)
    of_boxes = bounded.box_regression.max_per_class * 24 * 2 * 25_600
    assert 0.99e9 < of_svm <= 1e9
    assert 0.99e9 < of_boxes <= 1e9
    unbounded = bound_memory(replace(config, memory_gb=100), dimension=100, classes=2)
    assert (unbounded.svm, unbounded.box_regression) == (config.svm, config.box_regression)
    with pytest.raises(ConfigError, match="memory_gb: too little"):
        bound_memory(replace(config, memory_gb=1.501), dimension=25_600, classes=20)
