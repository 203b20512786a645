"""Class-specific ridge regression of boxes (R-CNN, appendix C; SPPnet, section 4.1)."""

import torch
from torch import Tensor

from sppdet.heads.linear import LinearWeights
from sppdet.runtime.ranks import spread


def fit_ridge(features: Tensor, targets: Tensor, ridge: float) -> LinearWeights:
    """Fit weight float32 (4, D) and bias (4,) that minimize |X w + b - t|^2 + ridge (|w|^2 + b^2), targets whitened.

    features: float32 (n, D). targets: float32 (n, 4); they are centered and whitened by their covariance before the
    fit, and the transformation is folded into the result. Solved in the smaller of the primal and the dual form.
    """
    count, dimension = features.shape
    if count == 0:
        return features.new_zeros(4, dimension), features.new_zeros(4)
    mean = targets.double().mean(dim=0)
    centered = targets.double() - mean
    # R-CNN whitens by the inverse square root of the covariance, with a little of the identity added.
    values, vectors = torch.linalg.eigh(centered.T @ centered / count + 1e-3 * torch.eye(4, dtype=torch.float64))
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    whitened = (centered @ torch.linalg.inv(root)).float()  # (n, 4)
    x = torch.cat([features, features.new_ones(count, 1)], dim=1)
    if count <= dimension:
        gram = (x @ x.T).double()
        gram.diagonal().add_(ridge)
        solved = x.T @ torch.linalg.solve(gram, whitened.double()).float()
    else:
        gram = (x.T @ x).double()
        gram.diagonal().add_(ridge)
        solved = torch.linalg.solve(gram, (x.T @ whitened).double()).float()
    restored = (solved.double() @ root).float()  # (D + 1, 4)
    return restored[:-1].T.contiguous(), restored[-1] + mean.float()


def fit_box_regression(
    features: list[list[Tensor]], targets: list[list[Tensor]], dimension: int, ridge: list[float], scale: float
) -> LinearWeights:
    """Fit weight float32 (4 K, D) and bias (4 K,), class by class, to chunks of features float16 (n, D) and targets
    float32 (n, 4).

    ridge: regularization of each class, on features multiplied by `scale`. A class without examples leaves boxes as
    they are. Extra memory: the examples of one class in float32.
    """

    def fit(k: int) -> LinearWeights:
        if not features[k]:
            return torch.zeros(4, dimension), torch.zeros(4)
        rows = torch.cat([part.float() for part in features[k]]) * scale
        weight, bias = fit_ridge(rows, torch.cat([*targets[k]]), ridge[k])
        return weight * scale, bias

    weights, biases = zip(*spread(range(len(ridge)), fit, each=len(ridge)), strict=True)
    return torch.cat(weights), torch.cat(biases)
