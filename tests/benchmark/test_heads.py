"""The heads beside their peers on small problems: every contestant does the same work."""

import pytest
import torch
from benchmark import heads
from svm_oracle import primal_of

from sppdet.heads.svm import solve_svms

pytestmark = pytest.mark.slow


def test_the_part_holds_ratios_rows_and_growth(measured):
    part = measured[0].parts["heads"]
    contestants = {name for pair in heads.RATIOS.values() for name in pair}
    assert set(part.rows[0].timings) == contestants | {"sppdet nms, 100 a class"}
    assert (part.growth[0].unit, part.growth[0].sizes) == ("regions", (5, 10))
    assert (part.facts["same_boxes"], part.facts["regions"]) == (True, 8)
    assert 0 < part.facts["candidates"] < 8 * heads.CLASSES


def test_random_heads_score_as_trained_ones():
    features = torch.rand(500, 30, generator=torch.Generator().manual_seed(1))
    drawn = heads.random_heads(features)
    outputs = {heads.SCORES: drawn.scores(features), heads.OFFSETS: drawn.offsets(features).flatten(1)}
    for (mean, deviation), values in outputs.items():
        assert values.mean(dim=0).numpy() == pytest.approx(mean, abs=1e-4)
        assert values.std(dim=0).numpy() == pytest.approx(deviation, rel=1e-3)


def test_candidates_are_those_of_the_first_regions():
    every = heads.random_candidates(40)
    few = heads.first_regions(every, 10)
    assert (every.scores > -1.5).all()
    assert 0.7 < len(every.scores) / (40 * heads.CLASSES) < 0.95
    assert set(few.regions.tolist()) == set(range(10))
    assert few.boxes.equal(every.boxes[: len(few.boxes)])  # they come region by region


def test_the_peers_of_nms_keep_the_same(monkeypatch):
    candidates = heads.random_candidates(60)
    given = candidates.boxes, candidates.scores, candidates.labels, 0.3
    assert heads.nms_by_class(*given).equal(heads.batched_nms(*given))
    assert heads.keeps_the_same(candidates)
    peer = heads.batched_nms
    monkeypatch.setattr(heads, "batched_nms", lambda *values: peer(*values[:3], 0.4))
    assert not heads.keeps_the_same(candidates)


def test_linear_svc_minimizes_the_objective_of_our_svms_with_the_loosest_tolerance_that_is_near_enough(monkeypatch):
    problem = heads.random_problem(60, 30, 4)
    weights = heads.fit_linear_svc(problem, heads.scaled_rows(problem), 1e-6)
    ours = solve_svms(problem, gap=1e-4, epochs=1000)
    assert primal_of(problem, weights) == pytest.approx(ours.primal, rel=1e-3)
    tolerance, facts = heads.find_tolerance(problem)
    assert facts["svm"]["LinearSVC"]["objective"] <= 1.011 * facts["svm"]["best"]["objective"]
    assert tolerance > heads.TOLERANCES[-1]
    monkeypatch.setattr(heads, "GAP", -1.0)  # nothing is so near
    assert heads.find_tolerance(problem)[0] == heads.TOLERANCES[-1]
