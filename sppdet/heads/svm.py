"""One-vs-rest linear SVMs on shared examples, all classes at once, by block dual coordinate descent.

The examples of all classes are the rows of one half-precision matrix; an example may be positive, negative or left
out for each class. Rows are taken in blocks: a block's Gram matrix and its margins for all classes are two matrix
products, and within the block the dual variables are optimized one at a time as in liblinear (Hsieh et al. 2008). One
read of the matrix is used by every class; extra memory is a few blocks, the weights, and some numbers per example and
class. As in liblinear (section 3.2), examples that no class needs are passed over until the next check of the duality
gap, which reads all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.runtime.compiled import compiled

BLOCK = 32  # examples optimized together
CHUNK = 256  # examples read at once where nothing is optimized
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

    def rows(self, index: Tensor, memory: Tensor) -> Tensor:
        """Read rows float32 (B, D), unscaled and without the constant, into `memory` (at least B, D)."""
        return memory[: len(index)].copy_(self.features.index_select(0, index))  # copies whole rows, unlike [index]

    def margins(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Compute w.x float32 (K, B) of rows as `rows` returns them."""
        return torch.addmm(weights[:, -1:] * self.svm.bias, weights[:, :-1], rows.T, alpha=self.scale)

    def all_margins(self, weights: Tensor) -> Tensor:
        """Compute w.x float32 (n, K) of every example."""
        memory = torch.empty(min(len(self.features), CHUNK), self.features.shape[1])
        chunks = self.features.split(CHUNK)
        return torch.cat([self.margins(weights, memory[: len(part)].copy_(part)).T for part in chunks])


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
    agree: Callable[[bool, np.ndarray], tuple[bool, np.ndarray]] = lambda settled, needed: (settled, needed),
) -> SVMSolution:
    """Optimize until the relative duality gap of every class is at most `gap`, or for up to `epochs` epochs.

    start: the solution of a smaller problem, whose rows come first in this one; its alpha is extended with zeros. The
    dual objective only grows from there, for a few epochs at least. A class keeps the weights it started with if they
    are still better than those of a coarse fit, so its primal objective on this problem never grows. agree: from
    whether the gaps are small enough and the examples that these classes need, the same for the classes of all ranks.
    """
    (n, classes), dimension = problem.targets.shape, problem.features.shape[1]
    weights, alpha = torch.zeros(classes, dimension + 1), np.zeros((classes, n), np.float32)
    if start:
        weights += start.weights
        alpha[:, : len(start.alpha)] = start.alpha.T.numpy()
    cost, targets = np.ascontiguousarray(problem.cost().T), problem.targets.T.numpy().astype(np.float32)  # (K, n)
    hinge = problem.svm.loss == "hinge"
    upper = cost if hinge else np.where(cost > 0, np.float32(np.inf), np.float32(0))
    # The squared hinge adds alpha^2 / (4 cost) to the dual: a diagonal term.
    with np.errstate(divide="ignore"):
        ridge = np.zeros_like(cost) if hinge else np.where(cost > 0, 0.5 / cost, 0).astype(np.float32)
    rng = np.random.default_rng(seed)
    memory = torch.empty(min(n, BLOCK), dimension)
    primal, dual, needed = objectives(problem, weights, torch.from_numpy(alpha.T))
    first_alpha, first_primal, epoch = alpha.copy(), primal, 0
    while True:
        settled, needed = agree(bool(((primal - dual) <= gap * primal).all()), needed)
        if epoch >= epochs or (epoch and settled):
            break
        blocks = np.array_split(rng.permutation(needed), max(1, -(-len(needed) // BLOCK)))
        grams: dict[int, np.ndarray] = {}
        for _ in range(min(EPOCHS_BETWEEN_CHECKS, epochs - epoch)):
            for b in rng.permutation(len(blocks)).tolist():
                rows = blocks[b]
                x = problem.rows(torch.from_numpy(rows), memory)  # (B, D)
                if b not in grams:
                    grams[b] = (problem.scale**2 * (x @ x.T) + problem.svm.bias**2).numpy()
                margins = problem.margins(weights, x).numpy()  # (K, B)
                old = alpha[:, rows]
                new = old.copy()
                _descend(grams[b], margins, targets[:, rows], upper[:, rows], ridge[:, rows], new, INNER_PASSES)
                alpha[:, rows] = new
                step = torch.from_numpy((new - old) * targets[:, rows])
                weights[:, :-1].addmm_(step, x, alpha=problem.scale)
                weights[:, -1] += problem.svm.bias * step.sum(dim=1)
            epoch += 1
        primal, dual, needed = objectives(problem, weights, torch.from_numpy(alpha.T))
    if start:
        better = first_primal < primal
        weights[torch.from_numpy(better)], alpha[better] = start.weights[torch.from_numpy(better)], first_alpha[better]
        primal, epoch = np.minimum(primal, first_primal), epoch + start.epochs
    return SVMSolution(weights, torch.from_numpy(alpha.T.copy()), primal, dual, epoch)


def objectives(problem: SVMProblem, weights: Tensor, alpha: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the primal and dual objective of each class, float64 (K,), and the examples that some class needs, int64.

    A class needs those within its margin and those with a dual variable above 0.
    """
    cost, duals = problem.cost(), alpha.numpy()
    slack = np.maximum(0, 1 - problem.all_margins(weights).numpy() * problem.targets.numpy())
    loss = cost * (slack if problem.svm.loss == "hinge" else slack**2)
    regularizer = 0.5 * weights.double().square().sum(dim=1).numpy()
    dual = duals.sum(axis=0, dtype=np.float64) - regularizer
    if problem.svm.loss == "squared_hinge":
        with np.errstate(divide="ignore", invalid="ignore"):
            dual -= np.where(cost > 0, duals**2 / (4 * cost), 0).sum(axis=0, dtype=np.float64)
    needed = ((duals > 0) | (loss > 0)).any(axis=1).nonzero()[0]
    return regularizer + loss.sum(axis=0, dtype=np.float64), dual, needed


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
