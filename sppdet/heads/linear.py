"""A head is a linear layer: SVMs and softmax are two ways of fitting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sppdet.errors import InputError
from sppdet.structures import check_tensor

HeadKind = Literal["svm", "softmax"]
ROWS = 2048  # of which the norms are computed at a time


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Class scores of region features.

    svm: weight float32 (K, D), bias (K,); scores are margins. softmax: weight (K + 1, D) and bias (K + 1,), row 0 is
    background; scores are probabilities.
    """

    kind: HeadKind
    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        check_tensor(self.weight, "weight", torch.float32, None, None)
        check_tensor(self.bias, "bias", torch.float32, len(self.weight))

    def scores(self, features: Tensor) -> Tensor:
        """Scores (N, K) of features float32 (N, D), background left out."""
        _check_dimension(features, self.weight.shape[1])
        return self.finish(torch.addmm(self.bias, features, self.weight.T))

    def finish(self, linear: Tensor) -> Tensor:
        """Scores (N, K) from the linear layer's output, (N, K) or (N, K + 1)."""
        return linear if self.kind == "svm" else linear.softmax(dim=1)[:, 1:]

    def to(self, device: torch.device | str) -> LinearHead:
        return LinearHead(self.kind, self.weight.to(device), self.bias.to(device))


@dataclass(frozen=True, eq=False)
class BoxRegressor:
    """Class-specific linear regression of box offsets. weight float32 (K * 4, D), bias (K * 4,)."""

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        check_tensor(self.weight, "weight", torch.float32, None, None)
        check_tensor(self.bias, "bias", torch.float32, len(self.weight))

    def offsets(self, features: Tensor) -> Tensor:
        """Offsets (N, K, 4), as `boxes.encode_boxes` defines them, of features float32 (N, D)."""
        _check_dimension(features, self.weight.shape[1])
        return torch.addmm(self.bias, features, self.weight.T).unflatten(1, (-1, 4))

    def to(self, device: torch.device | str) -> BoxRegressor:
        return BoxRegressor(self.weight.to(device), self.bias.to(device))


def _check_dimension(features: Tensor, dimension: int) -> None:
    if features.ndim != 2 or features.shape[1] != dimension:
        raise InputError("wrong length", field="features", expected=f"(N, {dimension})", got=tuple(features.shape))


def mean_norm(features: Tensor) -> float:
    """Mean L2 norm of the rows of features (n, D), computed in chunks."""
    if len(features) == 0:
        return 1.0
    total = sum(float(rows.float().norm(dim=1).sum()) for rows in features.split(ROWS))
    return max(total / len(features), 1e-12)
