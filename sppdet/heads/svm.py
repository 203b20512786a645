"""One-vs-rest linear SVMs on shared examples, all classes at once, by block dual coordinate descent.

The examples of all classes are the rows of one half-precision matrix; an example may be positive, negative or left
out for each class. Rows are taken in blocks: a block's Gram matrix and its margins for all classes are two matrix
products, and within the block the dual variables are optimized one at a time as in liblinear (Hsieh et al. 2008). One
read of the matrix is used by every class; extra memory is a block and the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.runtime.compiled import compiled

BLOCK = 32
INNER_PASSES = 2
EPOCHS_BETWEEN_CHECKS = 3


@dataclass(eq=False)
class SVMProblem:
    """min over w: |w|^2 / 2 + sum_i cost_i loss(y_i w.x_i), for each of K classes; x carries a constant feature.

    features: float16 (n, D). targets: int8 (n, K), +1, -1 or 0 (left out). scale: factor of the features. svm: loss,
    C (cost of a negative; that of a positive is positive_weight times as high), and bias, the constant feature's value.
    """

    features: Tensor
    targets: Tensor
    scale: float = 1.0
    svm: SVMConfig = field(default_factory=SVMConfig)

    def cost(self) -> np.ndarray:
        """Return the cost of each example, float32 (n, K): 0 if it is left out."""
        targets = self.targets.numpy()
        weight = np.where(targets > 0, self.svm.positive_weight, (targets < 0).astype(np.float32)).astype(np.float32)
        return self.svm.C * weight

    def rows(self, index: Tensor | slice, memory: Tensor | None = None) -> Tensor:
        """Read rows float32 (B, D), unscaled and without the constant, into `memory` (at least B, D) if given."""
        rows = self.features[index]
        return rows.float() if memory is None else memory[: len(rows)].copy_(rows)

    def margins(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Compute w.x float32 (K, B) of rows as `rows` returns them."""
        return torch.addmm(weights[:, -1:] * self.svm.bias, weights[:, :-1], rows.T, alpha=self.scale)


@dataclass(eq=False)
class SVMSolution:
    """The state of an optimization.

    weights: float32 (K, D + 1), for the scaled features and the constant one. alpha: float32 (n, K), dual variables.
    primal, dual: float64 (K,), the objective at the last check and its best known lower bound. epochs: number taken.
    """

    weights: Tensor
    alpha: Tensor
    primal: np.ndarray
    dual: np.ndarray
    epochs: int = 0

    @property
    def gap(self) -> float:
        """The largest relative duality gap of a class: (primal - dual) / primal."""
        return float(((self.primal - self.dual) / np.maximum(self.primal, 1e-12)).max(initial=0))


def solve_svms(
    problem: SVMProblem,
    start: SVMSolution | None = None,
    gap: float = 0.01,
    epochs: int = 100,
    seed: int = 0,
    settled: Callable[[bool], bool] = bool,
) -> SVMSolution:
    """Optimize until the relative duality gap of every class is at most `gap`, or for up to `epochs` epochs.

    start: the solution of a smaller problem, whose rows come first in this one; its alpha is extended with zeros. The
    dual objective only grows from there. A class keeps the weights it started with if they are still better than those
    of a coarse fit, so its primal objective on this problem never grows. settled: from whether the gaps are
    small enough, whether to end.
    """
    (n, classes), dimension = problem.targets.shape, problem.features.shape[1]
    zeros = torch.zeros(classes, dimension + 1), torch.zeros(n, classes)
    solution = start or SVMSolution(*zeros, primal=np.full(classes, np.inf), dual=np.zeros(classes))
    alpha = np.zeros((classes, n), np.float32)
    alpha[:, : len(solution.alpha)] = solution.alpha.T.numpy()
    first, weights = alpha.copy(), solution.weights.clone()
    cost, targets = np.ascontiguousarray(problem.cost().T), problem.targets.T.numpy().astype(np.float32)  # (K, n)
    hinge = problem.svm.loss == "hinge"
    upper = cost if hinge else np.where(cost > 0, np.float32(np.inf), np.float32(0))
    # The squared hinge adds alpha^2 / (4 cost) to the dual: a diagonal term.
    with np.errstate(divide="ignore"):
        ridge = np.zeros_like(cost) if hinge else np.where(cost > 0, 0.5 / cost, 0).astype(np.float32)
    rng = np.random.default_rng(seed)
    blocks = np.array_split(rng.permutation(n), max(1, -(-n // BLOCK)))
    grams: dict[int, np.ndarray] = {}
    memory = torch.empty(min(n, BLOCK), dimension)
    primal, dual, epoch = solution.primal, solution.dual, 0
    while epoch < epochs:
        for b in rng.permutation(len(blocks)).tolist():
            rows = blocks[b]
            x = problem.rows(torch.from_numpy(rows), memory)  # (B, D)
            if b not in grams:
                grams[b] = (problem.scale**2 * (x @ x.T) + problem.svm.bias**2).numpy()
            margins = problem.margins(weights, x).numpy()  # (K, B)
            before = alpha[:, rows]
            after = before.copy()
            _descend(grams[b], margins, targets[:, rows], upper[:, rows], ridge[:, rows], after, INNER_PASSES)
            alpha[:, rows] = after
            step = torch.from_numpy((after - before) * targets[:, rows])
            weights[:, :-1].addmm_(step, x, alpha=problem.scale)
            weights[:, -1] += problem.svm.bias * step.sum(dim=1)
        epoch += 1
        if epoch % EPOCHS_BETWEEN_CHECKS == 0 or epoch == epochs:
            primal, dual = objectives(problem, weights, torch.from_numpy(alpha.T))
            if settled(bool(((primal - dual) <= gap * primal).all())):
                break
    if start is not None and epoch:
        before = objectives(problem, start.weights, torch.from_numpy(first.T))[0]
        better = before < primal
        weights[torch.from_numpy(better)], alpha[better] = start.weights[torch.from_numpy(better)], first[better]
        primal = np.minimum(primal, before)
    return SVMSolution(weights, torch.from_numpy(alpha.T.copy()), primal, dual, solution.epochs + epoch)


def objectives(problem: SVMProblem, weights: Tensor, alpha: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Compute the primal and dual objective of each class, float64 (K,)."""
    cost = problem.cost().astype(np.float64)
    loss = np.zeros(cost.shape[1])
    for start in range(0, len(cost), 2048):
        part = slice(start, start + 2048)
        margins = problem.margins(weights, problem.rows(part)).T.numpy() * problem.targets[part].numpy()
        slack = np.maximum(0, 1 - margins.astype(np.float64))
        loss += (cost[part] * (slack if problem.svm.loss == "hinge" else slack**2)).sum(axis=0)
    regularizer = 0.5 * weights.double().square().sum(dim=1).numpy()
    exact = alpha.double().numpy()
    dual = exact.sum(axis=0) - regularizer
    if problem.svm.loss == "squared_hinge":
        with np.errstate(divide="ignore", invalid="ignore"):
            dual -= np.where(cost > 0, exact**2 / (4 * cost), 0).sum(axis=0)
    return regularizer + loss, dual


@compiled()
def _descend(gram, margins, targets, upper, ridge, alpha, passes):  # type: ignore[no-untyped-def]
    """Run coordinate descent on the dual variables alpha (K, B) of one block, keeping margins (K, B) up to date."""
    classes, size = alpha.shape
    for k in range(classes):
        for _ in range(passes):
            changed = False
            for i in range(size):
                y = targets[k, i]
                if y == 0:
                    continue
                slope = y * margins[k, i] - 1 + ridge[k, i] * alpha[k, i]
                old = alpha[k, i]
                new = min(max(old - slope / (gram[i, i] + ridge[k, i]), np.float32(0)), upper[k, i])
                if new != old:
                    alpha[k, i] = new
                    step = (new - old) * y
                    row, moved = gram[i], margins[k]
                    for j in range(size):
                        moved[j] += step * row[j]
                    changed = True
            if not changed:
                break
