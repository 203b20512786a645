"""Turns, medians, ratios and lines, from contestants whose seconds are known."""

import math

import numpy as np
import pytest
from benchmark import measure
from benchmark.measure import Growth, Timing, take_turns
from hypothesis import given, strategies as st

from sppdet.errors import InputError


def test_a_timing_keeps_the_first_call_out_of_its_median():
    timing = Timing(first_call_s=100.0, seconds=(4.0, 1.0, 3.0, 2.0, 5.0))
    assert timing.as_dict() == {"median_s": 3.0, "quartiles_s": (2.0, 4.0), "rounds": 5, "first_call_s": 100.0}


def test_contestants_warm_up_and_then_take_turns_each_first_in_its_turn():
    calls = []

    def contestant(name, seconds):
        def run(turn):
            calls.append((name, turn))
            return seconds + turn

        return run

    timings = take_turns({"a": contestant("a", 1.0), "b": contestant("b", 10.0)}, rounds=3)
    assert calls[:2] == [("a", 0), ("b", 0)]
    assert calls[2:] == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert timings == {"a": Timing(1.0, (1.0, 2.0, 3.0)), "b": Timing(10.0, (10.0, 11.0, 12.0))}
    with pytest.raises(InputError, match="rounds"):
        take_turns({"a": contestant("a", 1.0)}, rounds=0)


def test_stages_are_kept_beside_their_sums():
    runs = {"a": lambda turn: {"conv": 1.0 + turn, "heads": 0.5}, "b": lambda _turn: {"copy": 2.0}}
    sums, stages = measure.take_staged_turns(runs, 2, "stages")
    assert sums == {"a": Timing(1.5, (1.5, 2.5)), "b": Timing(2.0, (2.0, 2.0))}
    assert stages["a"] == {"conv": Timing(1.0, (1.0, 2.0)), "heads": Timing(0.5, (0.5, 0.5))}
    assert stages["b"] == {"copy": Timing(2.0, (2.0, 2.0))}
    assert measure.add_timings(sums["a"], sums["b"]) == Timing(3.5, (3.5, 4.5))


def test_clocked_calls_once_and_counts_its_seconds(monkeypatch):
    now = iter([5.0, 7.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    done = []
    assert measure.clocked(lambda: done.append(1))(0) == 2.5
    assert done == [1]


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    peer, ours = Timing(0, (10.0, 90.0, 40.0)), Timing(0, (1.0, 30.0, 2.0))
    assert measure.median_ratio(peer, ours) == 10.0  # of 10, 3, 20; the medians' ratio would be 20
    ratios = measure.find_ratios(
        {"peer": peer, "ours": ours}, {"known": ("peer", "ours"), "unknown": ("absent", "ours")}
    )
    assert ratios["known"] == 10.0
    assert math.isnan(ratios["unknown"])


@given(
    st.lists(st.integers(1, 5000), min_size=2, max_size=6, unique=True),
    st.floats(-1e-3, 1e-3),
    st.floats(0.1, 10.0),
    st.integers(0, 2**32 - 1),
)
def test_a_line_is_numpys_least_squares(sizes, slope, intercept, seed):
    seconds = intercept + slope * np.array(sizes) + 8 + 0.1 * np.random.default_rng(seed).random(len(sizes))
    line = measure.fit_line(sizes, seconds)
    columns = np.stack([np.array(sizes, float), np.ones(len(sizes))], axis=1)
    expected = np.linalg.lstsq(columns, seconds, rcond=None)[0]
    residual = np.sqrt(np.mean((columns @ expected - seconds) ** 2)) / seconds.mean()
    assert (line.slope, line.intercept) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-6)
    assert line.residual == pytest.approx(residual, abs=1e-9)


def test_growth_holds_the_medians_at_each_size_and_one_size_has_no_line():
    growth = measure.measure_growth("regions", (20, 10), lambda size: {"a": lambda turn: size / 10 + turn}, rounds=3)
    assert growth == Growth("regions", (10, 20), {"a": (2.0, 3.0)})
    assert growth.as_dict()["sizes"] == (10, 20)
    curve = growth.as_dict()["curves"]["a"]
    assert (curve["seconds"], curve["slope"], curve["intercept"]) == ((2.0, 3.0), pytest.approx(0.1), pytest.approx(1))
    assert math.isnan(measure.fit_line([3], [1.0]).slope)


def test_the_ratios_of_a_part_are_those_of_its_most_threads():
    rows = [measure.Row(n, {"a": Timing(0, (1.0,))}, {"ratio": float(n)}) for n in (1, 4)]
    values = measure.Part(rows, [Growth("pixels", (1, 2), {"a": (1.0, 2.0)})], {"images": 3}).as_dict()
    assert list(values) == ["ratio", "images", "rows", "growth"]
    assert (values["ratio"], [row["ratio"] for row in values["rows"]]) == (4.0, [1.0, 4.0])
    assert [row["threads"] for row in values["rows"]] == [1, 4]
    assert list(values["growth"]) == ["pixels"]
