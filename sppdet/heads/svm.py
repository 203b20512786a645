"""One-vs-rest linear SVMs on shared examples, all classes at once, by block dual coordinate descent.

The examples of all classes are the rows of one half-precision matrix; an example may be positive, negative or left
out for each class. Rows are taken in blocks: a block's Gram matrix and its margins for all classes are two matrix
products, and within the block the dual variables are optimised one at a time as in liblinear (Hsieh et al. 2008). One
read of the matrix so serves every class, and memory beside it is a block and the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numba import njit
from torch import Tensor

BLOCK = 256
INNER_PASSES = 3
EPOCHS_BETWEEN_CHECKS = 3

Loss = Literal["hinge", "squared_hinge"]


@dataclass(eq=False)
class SVMProblem:
    """min over w: |w|^2 / 2 + sum_i cost_i loss(y_i w.x_i), for each of K classes; x carries a constant feature.

    features: float16 (n, D). targets: int8 (n, K), +1, -1 or 0 (left out). scale: multiplies the features. bias: the
    constant feature. C: cost of an example, times positive_weight where it is positive.
    """

    features: Tensor
    targets: Tensor
    scale: float = 1.0
    bias: float = 10.0
    C: float = 0.001
    positive_weight: float = 2.0
    loss: Loss = "hinge"

    def cost(self) -> np.ndarray:
        """float32 (n, K): C, 2C, or 0 where left out."""
        targets = self.targets.numpy()
        return self.C * np.where(targets > 0, self.positive_weight, (targets < 0).astype(np.float32)).astype(np.float32)

    def rows(self, index: Tensor | slice) -> Tensor:
        """Scaled rows with their constant feature, float32 (B, D + 1)."""
        rows = self.features[index].float().mul_(self.scale)
        return torch.cat([rows, rows.new_full((len(rows), 1), self.bias)], dim=1)


@dataclass(eq=False)
class SVMSolution:
    """weights float32 (K, D + 1), on the scaled features and the constant one; alpha float32 (n, K), the dual
    variables; primal, dual: float64 (K,) objectives at the last check; epochs taken."""

    weights: Tensor
    alpha: Tensor
    primal: np.ndarray
    dual: np.ndarray
    epochs: int = 0

    @property
    def gap(self) -> float:
        """The worst class's relative duality gap: (primal - dual) / primal."""
        return float(((self.primal - self.dual) / np.maximum(self.primal, 1e-12)).max(initial=0))


def start_solution(problem: SVMProblem) -> SVMSolution:
    """Zero weights."""
    n, classes = problem.targets.shape
    infinite = np.full(classes, np.inf)
    dimension = problem.features.shape[1] + 1
    return SVMSolution(torch.zeros(classes, dimension), torch.zeros(n, classes), infinite, np.zeros(classes))


def solve_svms(
    problem: SVMProblem, start: SVMSolution | None = None, gap: float = 0.01, epochs: int = 100, seed: int = 0
) -> SVMSolution:
    """Optimise until every class's relative duality gap is at most `gap`, or for so many epochs.

    start: a solution of a smaller problem whose rows come first in this one; its alpha is extended with zeros. The
    dual objective only grows from there.
    """
    solution = start or start_solution(problem)
    n, classes = problem.targets.shape
    alpha = np.zeros((n, classes), np.float32)
    alpha[: len(solution.alpha)] = solution.alpha.numpy()
    weights = solution.weights.clone()
    cost, targets = problem.cost(), problem.targets.numpy().astype(np.float32)
    upper = cost if problem.loss == "hinge" else np.where(cost > 0, np.float32(np.inf), np.float32(0))
    # The squared hinge adds alpha^2 / (4 cost) to the dual: a diagonal term.
    with np.errstate(divide="ignore"):
        ridge = np.zeros_like(cost) if problem.loss == "hinge" else np.where(cost > 0, 0.5 / cost, 0).astype(np.float32)
    rng = np.random.default_rng(seed)
    blocks = np.array_split(rng.permutation(n), max(1, -(-n // BLOCK)))
    grams: dict[int, np.ndarray] = {}
    primal, dual, epoch = solution.primal, solution.dual, 0
    while epoch < epochs:
        for b in rng.permutation(len(blocks)).tolist():
            rows = blocks[b]
            x = problem.rows(torch.from_numpy(rows))  # (B, D + 1)
            if b not in grams:
                grams[b] = (x @ x.T).numpy()
            margins = (x @ weights.T).numpy()  # (B, K)
            before = alpha[rows]
            after = before.copy()
            _descend(grams[b], margins, targets[rows], upper[rows], ridge[rows], after, INNER_PASSES)
            alpha[rows] = after
            step = torch.from_numpy((after - before) * targets[rows])
            weights.addmm_(step.T, x)
        epoch += 1
        if epoch % EPOCHS_BETWEEN_CHECKS == 0 or epoch == epochs:
            primal, dual = objectives(problem, weights, torch.from_numpy(alpha))
            if ((primal - dual) <= gap * primal).all():
                break
    return SVMSolution(weights, torch.from_numpy(alpha), primal, dual, solution.epochs + epoch)


def objectives(problem: SVMProblem, weights: Tensor, alpha: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Primal and dual objective of each class, float64 (K,)."""
    cost = problem.cost().astype(np.float64)
    loss = np.zeros(cost.shape[1])
    for start in range(0, len(cost), 2048):
        part = slice(start, start + 2048)
        margins = (problem.rows(part) @ weights.T).numpy() * problem.targets[part].numpy()
        slack = np.maximum(0, 1 - margins.astype(np.float64))
        loss += (cost[part] * (slack if problem.loss == "hinge" else slack**2)).sum(axis=0)
    regulariser = 0.5 * weights.double().square().sum(dim=1).numpy()
    exact = alpha.double().numpy()
    dual = exact.sum(axis=0) - regulariser
    if problem.loss == "squared_hinge":
        with np.errstate(divide="ignore", invalid="ignore"):
            dual -= np.where(cost > 0, exact**2 / (4 * cost), 0).sum(axis=0)
    return regulariser + loss, dual


@njit(cache=True)
def _descend(gram, margins, targets, upper, ridge, alpha, passes):  # type: ignore[no-untyped-def]
    """Coordinate descent on the dual variables alpha (B, K) of one block; margins (B, K) are kept up to date."""
    size, classes = alpha.shape
    for _ in range(passes):
        for i in range(size):
            for k in range(classes):
                y = targets[i, k]
                if y == 0:
                    continue
                slope = y * margins[i, k] - 1 + ridge[i, k] * alpha[i, k]
                old = alpha[i, k]
                new = min(max(old - slope / (gram[i, i] + ridge[i, k]), np.float32(0)), upper[i, k])
                if new != old:
                    alpha[i, k] = new
                    step = (new - old) * y
                    for j in range(size):
                        margins[j, k] += step * gram[i, j]
