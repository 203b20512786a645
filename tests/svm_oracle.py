"""The objective of one-vs-rest SVMs, from its definition in double precision."""

import numpy as np
from torch import Tensor

from sppdet.heads.svm import SVMProblem


def scaled_rows(problem: SVMProblem) -> np.ndarray:
    """The scaled features (n, D + 1), with the constant one."""
    scaled = problem.features.double().numpy() * problem.scale
    return np.hstack([scaled, np.full((len(scaled), 1), problem.svm.bias)])


def primal_of(problem: SVMProblem, weights: Tensor) -> np.ndarray:
    """The objective (K,) of weights (K, D + 1)."""
    w, y = weights.double().numpy(), problem.targets.double().numpy()
    slack = np.maximum(0, 1 - y * (scaled_rows(problem) @ w.T))
    cost = problem.svm.C * np.where(y > 0, problem.svm.positive_weight, np.abs(y))
    return 0.5 * (w**2).sum(axis=1) + (cost * (slack if problem.svm.loss == "hinge" else slack**2)).sum(axis=0)
