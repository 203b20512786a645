"""The forecast of a training's cost: lines through what was recorded, and what nodes divide."""

import pytest
from hypothesis import given, strategies as st

from sppdet.comparison.forecast import DIVIDED, Line, Measured, forecast

SIZES = st.lists(st.integers(1, 10_000), min_size=2, max_size=5, unique=True)
COSTS = st.floats(1e-3, 1e3)


@given(SIZES, st.tuples(COSTS, COSTS), st.integers(1, 10**7), st.integers(1, 100))
def test_costs_that_lie_on_lines_are_predicted_and_only_divided_stages_gain_from_nodes(sizes, costs, images, nodes):
    start, slope = costs
    runs = [Measured(n, dict.fromkeys(DIVIDED, start + slope * n), 2.0, 1e-3 * n, 5 * n) for n in sizes]
    one, several = (forecast(runs, images, count, 6, cache_gb=40, passes=2, max_examples=50) for count in (1, nodes))
    for stage, divided in DIVIDED.items():
        assert one.hours[stage] == pytest.approx((start + slope * images) / 3600, rel=1e-4)
        assert several.hours[stage] == pytest.approx(one.hours[stage] / (nodes if divided else 1))
        residual = one.lines[stage].residual
        assert (residual is None) == (len(sizes) == 2)
        assert residual is None or residual < 1e-6
    assert one.sizes["disk"] == pytest.approx(1e-3 * images, rel=1e-4)
    assert one.sizes["network"] == 0
    broken = [name for name, number in one.breaks.items() if number < images]
    assert one.first_break == (min(broken, key=lambda name: one.breaks[name]) if broken else None)
    assert ("the disk of the features (cache_gb)" in broken) == (images > 40_000)


@given(st.lists(st.tuples(st.integers(1, 10_000), COSTS), min_size=1, max_size=6))
def test_a_line_never_falls_and_says_how_far_it_misses(points):
    line = Line.through(points)
    assert line.start >= 0
    assert line.slope >= 0
    missed = max(abs(line.at(n) / value - 1) for n, value in points)
    assert line.residual is None or line.residual == pytest.approx(missed, abs=1e-6)
    if len({n for n, _ in points}) == 1:
        assert line.start == 0  # proportional


@pytest.mark.parametrize(("memory_gb", "max_examples", "full"), [(6, 50_000, 1000), (3, 50_000, 500), (6, 25_000, 500)])
def test_hard_negatives_and_memory_grow_until_the_room_for_examples_is_full(memory_gb, max_examples, full):
    runs = [Measured(n, {"first examples": n, "hard negatives": n}, 1 + n / 250, None, None, 50 * n) for n in (50, 100)]
    small, large = (forecast(runs, n, 1, memory_gb, 40, 1, max_examples) for n in (full, 10 * full))
    assert large.hours["hard negatives"] == pytest.approx(small.hours["hard negatives"]) == pytest.approx(full / 3600)
    assert large.hours["first examples"] == pytest.approx(10 * full / 3600)
    assert large.sizes["memory"] == pytest.approx(1 + full / 250, rel=0.02)
    assert next(iter(large.breaks.values())) == pytest.approx(full)
    assert "room for examples" in (large.first_break or "")


def test_runs_whose_room_for_examples_was_full_tell_when_mining_ends():
    runs = [Measured(n, {"hard negatives": 300.0}, 3.0, None, None, 50_000) for n in (2000, 4000)]
    planned = forecast(runs, 10**6, 1, 6, 40, 1, 50_000)
    assert planned.most["hard negatives"] == 2000
    assert planned.hours["hard negatives"] == pytest.approx(300 / 3600)


def row(step: str, kind: str, number: int, examples: int, seconds: float, **more: float) -> dict[str, object]:
    return {"step": step, "kind": kind, "number": number, "examples": examples, "seconds": seconds, **more}


def test_rows_become_stages():
    rows = [
        row("proposals", "stage", 1, 100, 30.0, computed=80, check_seconds=10.0, memory_gb=1.0),
        row("heads-train", "features", 1, 80, 50.0, computed=100, written_gb=0.5),
        row("heads-train", "refit", 1, 900, 5.0),
        row("heads-train", "refit", 2, 1500, 6.0, memory_gb=2.5),
        row("heads-train", "stage", 1, 80, 3.0),
        row("val", "stage", 1, 20, 2.0, most=4000),
        row("heads-all", "features", 1, 100, 1.0, computed=0, written_gb=0.0),
        row("heads-all", "stage", 1, 100, 4.0),
    ]
    run = Measured.from_rows(rows)
    assert run == Measured(100, run.seconds, 2.5, 0.5, 4000, 1500)
    stages = {"check of the data": 10, "proposals": 25, "features": 51, "other heads": 7, "held-out images": 2}
    assert run.seconds == pytest.approx(stages | {"first examples": 5, "hard negatives": 6})
    cached = [{**each, "computed": 0} if "computed" in each else each for each in rows]
    assert not {"proposals", "features"} & Measured.from_rows(cached).seconds.keys()
    notes = forecast([Measured.from_rows(cached)], 100, 1, 6, 40, 2, 50_000).notes
    assert any("were cached before" in note for note in notes)
    assert any("one size" in note for note in notes)
