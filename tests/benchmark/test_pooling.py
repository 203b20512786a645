"""Pooling beside its peers on a small map: every contestant does the same work."""

import pytest
import torch
from benchmark import pooling
from benchmark.config import BenchmarkConfig
from benchmark.pooling import (
    AdaptiveLevels,
    as_corners,
    backward_runs,
    batch_runs,
    benchmark_pooling,
    by_adaptive,
    channels_last,
    forward_runs,
    random_windows,
    roi_pool_levels,
    roi_pool_nested,
)
from factories import random_maps
from hypothesis import given, strategies as st

from sppdet.pooling.pyramid import SpatialPyramidPooling

pytestmark = pytest.mark.slow


@pytest.fixture
def maps() -> torch.Tensor:
    return random_maps(1, 4, 9, 12)


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_windows_lie_in_the_map_and_are_the_same_each_time(count, height, width, seed):
    windows = random_windows(count, height, width, seed)
    x1, y1, x2, y2 = windows.unbind(1)
    assert (windows.dtype, windows.shape) == (torch.int64, (count, 4))
    assert ((x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & (x2 <= width) & (y2 <= height)).all()
    assert windows.equal(random_windows(count, height, width, seed))


def test_windows_are_of_all_sizes():
    windows = random_windows(2000, 43, 57)
    sides = windows[:, 2:] - windows[:, :2]
    assert sides.amin(dim=0).tolist() == [2, 2]
    assert sides.amax(dim=0).tolist() == [57, 43]
    assert (sides[:, 0] < 12).float().mean() > 0.4


def test_the_peers_pool_the_same(maps):
    windows = random_windows(30, 9, 12)
    expected = by_adaptive(maps, windows)
    for levels in (roi_pool_levels(maps, as_corners(windows)), roi_pool_nested(maps, as_corners(windows))):
        assert torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in levels], dim=1).equal(expected)
    assert SpatialPyramidPooling(pooling.LEVELS)(channels_last(maps), windows).equal(expected)
    ours, torchs = SpatialPyramidPooling(pooling.LEVELS)(maps), AdaptiveLevels()(maps)
    assert ours.shape == torchs.shape
    assert ours.sort().values.equal(torchs.sort().values)


def test_every_contestant_runs(maps):
    windows = random_windows(6, 9, 12)
    runs = forward_runs(maps, windows) | backward_runs(maps, windows) | batch_runs(maps.repeat(3, 1, 1, 1))
    assert {name for pair in pooling.RATIOS.values() for name in pair} == set(runs)
    assert all(run(turn) > 0 for turn in range(2) for run in runs.values())


def test_the_part_holds_rows_and_growth(measured):
    part = measured[0].parts["pooling"]
    assert (part.facts["bit_equal"], part.facts["regions"]) == (True, 8)
    assert all(len(timing.seconds) == 2 for timing in part.rows[0].timings.values())
    assert (part.growth[0].unit, part.growth[0].sizes) == ("regions", (5, 10))


@pytest.mark.usefixtures("small_networks")
def test_another_result_than_adaptive_poolings_is_seen(monkeypatch):
    monkeypatch.setattr(pooling, "by_adaptive", lambda maps, windows: by_adaptive(maps + 1e-6, windows))
    part = benchmark_pooling(BenchmarkConfig(threads=(1,), rounds=1, regions=8, growth=(5,)))
    assert part.facts["bit_equal"] is False
