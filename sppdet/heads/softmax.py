"""A softmax layer on frozen features: multinomial logistic regression by full-batch L-BFGS."""

import torch
from torch import Tensor

from sppdet.errors import SppdetError
from sppdet.files.recorder import record
from sppdet.heads.linear import ROWS_PER_CHUNK, LinearWeights, mean_norm

FEATURE_NORM = 20.0


def fit_softmax(
    features: Tensor, labels: Tensor, classes: int, weight_decay: float = 1e-4, iterations: int = 100
) -> LinearWeights:
    """Fit weight float32 (K + 1, D) and bias (K + 1,) to features float16 (n, D) and labels int64 (n,).

    Minimizes the mean cross-entropy + weight_decay / 2 * |weight|^2 on features scaled to a mean L2 norm of 20.
    Reads the features in chunks: extra memory is a chunk and the optimizer's history of the weights.
    """
    scale = FEATURE_NORM / mean_norm(features)
    weight = torch.zeros(classes + 1, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = weight_decay / 2 * weight.square().sum()
        total.backward()
        total = total.detach()
        for rows, targets in zip(features.split(ROWS_PER_CHUNK), labels.split(ROWS_PER_CHUNK), strict=True):
            logits = torch.addmm(bias, rows.float() * scale, weight.T)
            part = torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / len(labels)
            part.backward()
            total += part.detach()
        if not torch.isfinite(total):
            raise SppdetError("the loss of the softmax head is not finite", got=float(total))
        losses.append(float(total))
        return total

    losses: list[float] = []
    optimizer.step(loss)
    record("fit", examples=len(labels), loss=min(losses))
    return weight.detach() * scale, bias.detach()
