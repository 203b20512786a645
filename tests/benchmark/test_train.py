"""Training from cold on a few small images: the stages, their memory, and what is left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
from benchmark import train
from benchmark.config import BenchmarkConfig
from benchmark.train import Training, benchmark_train, cache_in, train_cold

from sppdet.config.data import DataConfig
from sppdet.files.durable import cache_folder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_networks")]


@pytest.fixture
def recorded(monkeypatch) -> list[tuple[int, int]]:
    """The numbers of images and threads of each training, none of which takes place."""
    calls = []

    def train_cold(_data: DataConfig, images: int, threads: int, _device: str) -> Training:
        calls.append((images, threads))
        stages = list(train.STAGES)
        return Training(images, dict.fromkeys(stages, 2.0 * images), dict.fromkeys(stages, 100.0 + images), 30.0)

    monkeypatch.setattr(train, "train_cold", train_cold)
    return calls


def test_a_training_from_cold_leaves_nothing(shapes, cache):
    trained = train_cold(DataConfig(root=str(shapes)), 5, 1, "cpu")
    assert list(trained.seconds) == list(train.STAGES)
    assert all(seconds > 0 for seconds in trained.seconds.values())
    assert trained.images_per_second()["mining"] == 5 / trained.seconds["mining"]
    assert trained.examples > 0
    assert cache_folder() == cache
    assert not any(cache.iterdir())
    if Path("/proc/self/status").is_file():
        assert trained.memory()["mining beyond examples"] == trained.peaks["mining"] - trained.examples > 0


def test_each_number_of_images_is_trained_once_after_a_warm_up(shapes, recorded):
    config = BenchmarkConfig(threads=(1,), train_images=(3, 100))
    part = benchmark_train(DataConfig(root=str(shapes), split="test"), config)
    assert recorded == [(5, 1), (3, 1)]  # there are three images; the warm-up takes what there is
    assert part.growth[0].sizes == (3,)
    recorded.clear()
    part = benchmark_train(DataConfig(), BenchmarkConfig(threads=(1,), train_images=(10, 6)))
    assert recorded == [(5, 1), (10, 1), (6, 1)]
    assert part.growth[0].sizes == (6, 10)
    assert part.growth[0].seconds["sppdet mining"] == (12.0, 20.0)
    timing = part.rows[0].timings["sppdet features"]
    assert (timing.first_call_s, timing.seconds) == (10.0, (20.0,))
    bare = part.rows[0].timings["bare network"].seconds[0]
    assert part.ratios["ratio_fill_vs_bare_network"] == bare / 20.0
    assert part.facts["seconds"] == 20.0 * len(train.STAGES)
    assert part.facts["images_per_second"]["6"]["features"] == 0.5
    assert part.facts["peak_mb"]["10"]["mining beyond examples"] == 80.0
    assert np.isclose(part.facts["peak_mb"]["an image"]["features"], 1.0)
    assert np.isclose(part.facts["peak_mb"]["an image"]["examples"], 0.0)


def test_the_cache_is_elsewhere_for_a_while(tmp_path, monkeypatch):
    for before in ("somewhere", None):
        if before is None:
            monkeypatch.delenv("SPPDET_CACHE")
        else:
            monkeypatch.setenv("SPPDET_CACHE", before)
        with cache_in(tmp_path):
            assert cache_folder() == tmp_path
        assert os.environ.get("SPPDET_CACHE") == before
