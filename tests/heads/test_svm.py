from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from svm_oracle import primal_of, scaled_rows

from sppdet.config.heads import SVMConfig
from sppdet.heads.svm import EPOCHS_BETWEEN_CHECKS, SVMProblem, SVMSolution, objectives, solve_svms

LOSSES = ("hinge", "squared_hinge")


def random_problem(loss: str = "hinge", **settings) -> SVMProblem:
    """Three overlapping classes; about a fifth of the examples are left out of each."""
    rng, n, dimension = np.random.default_rng(0), 700, 12
    features = torch.from_numpy(rng.normal(size=(n, dimension))).half()
    planes = rng.normal(size=(dimension, 3))
    margins = features.double().numpy() @ planes + rng.normal(size=(n, 3)) * 2 - [1, 3, 0]
    targets = np.where(margins > 0, 1, -1) * (rng.random((n, 3)) > 0.2)
    svm = SVMConfig(**{"bias": 2.0, "C": 0.05, "loss": loss, **settings})
    return SVMProblem(features, torch.from_numpy(targets.astype(np.int8)), 0.7, svm)


def first_rows(problem: SVMProblem, count: int) -> SVMProblem:
    return replace(problem, features=problem.features[:count], targets=problem.targets[:count])


def liblinear_primal(problem: SVMProblem) -> np.ndarray:
    """The same by scikit-learn; its intercept is the weight of a regularized constant feature too."""
    weights = []
    class_weight, bias = {1: problem.svm.positive_weight, -1: 1.0}, problem.svm.bias
    settings = {"dual": True, "tol": 1e-6, "max_iter": 200_000, "random_state": 0, "class_weight": class_weight}
    for targets in problem.targets.numpy().T:
        svm = LinearSVC(loss=problem.svm.loss, C=problem.svm.C, intercept_scaling=bias, **settings)
        svm.fit(scaled_rows(problem)[targets != 0, :-1], targets[targets != 0])
        weights.append(np.append(svm.coef_[0], svm.intercept_[0] / bias))
    return primal_of(problem, torch.from_numpy(np.array(weights)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("settings", [{}, {"positive_weight": 1.0, "C": 0.001}, {"C": 0.001, "bias": 10.0}], ids=str)
def test_objectives_are_within_the_gap_of_liblinears(loss, settings):
    problem = random_problem(loss, **settings)
    solution = solve_svms(problem, gap=0.005, epochs=2000)
    assert solution.gap <= 0.005
    primal, best = primal_of(problem, solution.weights), liblinear_primal(problem)
    assert primal == pytest.approx(solution.primal, rel=1e-4)
    assert (best * (1 - 1e-4) <= primal).all()
    assert (primal <= best * 1.01).all()
    assert (solution.dual <= best * (1 + 1e-4)).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_duality_gap_is_honest(loss):
    """The dual objective from the dual variables alone, in float64, is the one reported, and they are feasible."""
    problem = random_problem(loss)
    solution = solve_svms(problem, gap=0.002, epochs=500)
    alpha, y = solution.alpha.double().numpy(), problem.targets.double().numpy()
    weights = (alpha * y).T @ scaled_rows(problem)
    np.testing.assert_allclose(solution.weights.numpy(), weights, atol=1e-4)
    cost = problem.cost().astype(np.float64)
    assert (alpha >= 0).all()
    assert (alpha[cost == 0] == 0).all()
    dual = alpha.sum(axis=0) - 0.5 * (weights**2).sum(axis=1)
    if loss == "hinge":
        assert (alpha <= cost * (1 + 1e-6)).all()
    else:
        dual -= (alpha**2 / (4 * np.where(cost > 0, cost, 1))).sum(axis=0)
    np.testing.assert_allclose(solution.dual, dual, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(5))
def test_the_dual_never_decreases_from_a_warm_start(loss, seed):
    whole = random_problem(loss)
    solution = solve_svms(first_rows(whole, 400), gap=0.01, seed=seed)
    for _ in range(5):
        alpha = torch.nn.functional.pad(solution.alpha, (0, 0, 0, 700 - len(solution.alpha)))
        dual = objectives(whole, solution.weights, alpha)[1]
        solution = solve_svms(whole, solution, gap=0, epochs=1, seed=seed)
        assert (solution.dual >= dual - 1e-5 * np.abs(dual)).all()
    assert solution.alpha.shape == (700, 3)
    cold = solve_svms(whole, gap=0.001, epochs=1000)
    warm = solve_svms(whole, solution, gap=0.001, epochs=1000)
    np.testing.assert_allclose(warm.primal, cold.primal, rtol=2e-3)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rows", [400, 690])
def test_a_rough_refit_is_no_worse_than_the_weights_it_started_from(loss, rows):
    whole = random_problem(loss)
    start = solve_svms(first_rows(whole, rows), gap=0.001, epochs=1000)
    refit = solve_svms(whole, start, gap=0.9, epochs=1)
    old, new = (primal_of(whole, solution.weights) for solution in (start, refit))
    assert (new <= old * (1 + 1e-5)).all()
    assert refit.primal == pytest.approx(new, rel=1e-4)
    assert (refit.dual <= new).all()


def test_a_solved_problem_stays_solved():
    problem = random_problem()
    solution = solve_svms(problem, gap=0.001, epochs=1000)
    again = solve_svms(problem, solution, gap=0.005)
    assert again.epochs - solution.epochs == EPOCHS_BETWEEN_CHECKS
    assert (again.dual >= solution.dual - 1e-5).all()


def test_the_threshold_lives_in_the_constant_feature():
    """Features that say nothing: only the constant one separates 30 positives from 10 negatives."""
    targets = torch.tensor([1] * 30 + [-1] * 10, dtype=torch.int8)[:, None]
    problem = SVMProblem(torch.zeros(40, 5, dtype=torch.float16), targets, svm=SVMConfig(C=1.0, positive_weight=1.0))
    solution = solve_svms(problem)
    assert (solution.weights[:, :-1] == 0).all()
    assert float(solution.weights[0, -1]) * problem.svm.bias == pytest.approx(1, abs=0.01)


def test_margins_are_of_scaled_half_precision_rows_and_a_constant_and_costs_weigh_positives():
    problem = SVMProblem(torch.tensor([[1.0, 2], [0.1, -65504]]).half(), torch.ones(2, 1, dtype=torch.int8), 0.5)
    memory = torch.full((3, 2), torch.nan)
    rows = problem.rows(torch.tensor([1, 0]), memory)
    assert rows.data_ptr() == memory.data_ptr()
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[float(np.float16(0.1)), -65504], [1, 2]]
    weights = torch.tensor([[4.0, 8, 3], [1, 0, 0]])
    margins = problem.margins(weights, rows[1:])
    assert margins.tolist() == [[0.5 * (4 * 1 + 8 * 2) + 10 * 3], [0.5]]
    assert problem.all_margins(weights)[:1].tolist() == margins.T.tolist()
    targets = torch.tensor([[1, 0], [-1, 1]], dtype=torch.int8)
    problem = SVMProblem(torch.zeros(2, 1).half(), targets, svm=SVMConfig(C=0.5, positive_weight=3))
    assert problem.cost().tolist() == [[1.5, 0], [0.5, 1.5]]


def test_classes_of_several_ranks_are_fitted_as_by_one():
    """Threads take the part of ranks; the last one has no classes."""
    whole = random_problem()
    start = solve_svms(first_rows(whole, 400))
    together = solve_svms(whole, start, gap=0.001, epochs=300)
    told: dict[int, tuple[bool, np.ndarray]] = {}
    all_told = Barrier(4)

    def solve(rank: int) -> SVMSolution:
        def agree(settled: bool, needed: np.ndarray) -> tuple[bool, np.ndarray]:
            told[rank] = settled, needed
            all_told.wait(30)
            of_ranks = [told[r] for r in range(4)]
            all_told.wait(30)
            return all(settled for settled, _ in of_ranks), np.unique(np.concatenate([rows for _, rows in of_ranks]))

        part = slice(rank, None, 4)
        own = replace(start, weights=start.weights[part], alpha=start.alpha[:, part])
        return solve_svms(replace(whole, targets=whole.targets[:, part].contiguous()), own, 0.001, 300, 0, agree)

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(solve, range(4)))
    assert {part.epochs for part in parts} == {together.epochs}
    torch.testing.assert_close(torch.cat([part.weights for part in parts]), together.weights)


def test_a_class_left_out_everywhere_or_without_positives():
    problem = random_problem()
    problem.targets[:, 1] = 0
    problem.targets[:, 2] = problem.targets[:, 2].clamp(max=0)
    solution = solve_svms(problem)
    assert (solution.weights[1] == 0).all()
    assert solution.gap <= 0.01
    assert problem.all_margins(solution.weights)[:, 2].max() < -0.5


def test_examples_that_no_class_needs_are_passed_over(monkeypatch):
    """Of 500 far negatives of every class, a few are read after the first round of epochs."""
    problem = random_problem()
    far = torch.cat([torch.zeros(500, 12), torch.full((500, 1), -30.0)], dim=1).half()
    features = torch.cat([torch.nn.functional.pad(problem.features, (0, 1), value=1.0), far])
    targets = torch.cat([problem.targets, -torch.ones(500, 3, dtype=torch.int8)])
    whole = replace(problem, features=features, targets=targets)
    epochs: list[set[int]] = [set()]
    rows = SVMProblem.rows

    def read(self, index, memory):
        if epochs[-1] & set(index.tolist()):
            epochs.append(set())
        epochs[-1].update(index.tolist())
        return rows(self, index, memory)

    monkeypatch.setattr(SVMProblem, "rows", read)
    solution = solve_svms(whole, gap=0.002, epochs=500)
    counts = [sum(row >= 700 for row in epoch) for epoch in epochs]
    assert len(counts) == solution.epochs > EPOCHS_BETWEEN_CHECKS
    assert set(counts[:EPOCHS_BETWEEN_CHECKS]) == {500}
    assert max(counts[EPOCHS_BETWEEN_CHECKS:]) < 50
    assert solution.gap <= 0.002
    assert primal_of(whole, solution.weights) == pytest.approx(solution.primal, rel=1e-4)


def test_the_same_seed_gives_the_same_weights():
    problem = random_problem()
    first, second, other = (solve_svms(problem, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.weights, second.weights)
    np.testing.assert_allclose(other.primal, first.primal, rtol=0.02)


def test_objectives_of_zero_weights_are_the_costs():
    problem = random_problem()
    start = solve_svms(problem, epochs=0)
    primal, dual, needed = objectives(problem, start.weights, start.alpha)
    assert not start.weights.any()
    assert needed.tolist() == problem.targets.any(dim=1).nonzero().flatten().tolist()
    np.testing.assert_allclose(primal, problem.cost().sum(axis=0), rtol=1e-5)
    assert (dual == 0).all()
