"""The heads: one linear layer for class scores and box offsets. SVMs and softmax are two ways of fitting it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppdet.config.heads import CLASS_OUTPUTS, HeadKind
from sppdet.errors import InputError
from sppdet.runtime.stopwatch import stage
from sppdet.structures import check_tensor

ROWS_PER_CHUNK = 2048  # of features that are read at a time

LinearWeights = tuple[Tensor, Tensor]  # weight float32 (outputs, D) and bias (outputs,)


class Heads(nn.Module):
    """Class scores and, optionally, class-specific box regression of region features, in one matrix product.

    kind: "svm" (K outputs, scores are margins) or "softmax" (K + 1 outputs, the first for background, scores are
    probabilities), as CLASS_OUTPUTS says. Box regression adds four outputs per class. weight: float32 (outputs, D).
    bias: (outputs,). scale: number by which features are multiplied while the heads are fine-tuned.
    """

    scale: Tensor | None

    def __init__(self, kind: HeadKind, classes: int, dimension: int, box_regression: bool = True) -> None:
        super().__init__()
        self.kind, self.num_classes, self.box_regression = kind, classes, box_regression
        self.class_outputs = CLASS_OUTPUTS[kind].background + classes
        outputs = self.class_outputs + 4 * classes * box_regression
        self.weight = nn.Parameter(torch.zeros(outputs, dimension), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)
        self.register_buffer("scale", None)

    @classmethod
    def from_linear(cls, kind: HeadKind, scores: LinearWeights, offsets: LinearWeights | None = None) -> Heads:
        """Join fitted layers: class outputs, (K, D) or (K + 1, D) with the background first, and offsets (4 K, D)."""
        parts = {"scores": scores} if offsets is None else {"scores": scores, "offsets": offsets}
        check_tensor(scores[0], "weight of the scores", torch.float32, None, None)
        for name, (weight, bias) in parts.items():
            check_tensor(weight, f"weight of the {name}", torch.float32, None, scores[0].shape[1])
            check_tensor(bias, f"bias of the {name}", torch.float32, len(weight))
        heads = cls(kind, len(scores[0]) - CLASS_OUTPUTS[kind].background, scores[0].shape[1], offsets is not None)
        weight, bias = (torch.cat(values) for values in zip(*parts.values(), strict=True))
        check_tensor(weight, "weight", torch.float32, *heads.weight.shape)
        heads.weight.data, heads.bias.data = weight, bias
        return heads

    @property
    def dimension(self) -> int:
        """D, length of the features."""
        return self.weight.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        """Compute all outputs (N, outputs) of features float32 (N, D)."""
        with stage("heads"):
            return self._linear(features, slice(None))

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split outputs into class outputs, (N, K) or (N, K + 1), and offsets (N, K, 4), if any."""
        offsets = outputs[:, self.class_outputs :].unflatten(1, (-1, 4)) if self.box_regression else None
        return outputs[:, : self.class_outputs], offsets

    def mirror(self, outputs: Tensor) -> Tensor:
        """Convert outputs (N, outputs) for boxes in a mirror image to those for the boxes before."""
        signs = outputs.new_ones(outputs.shape[1])
        signs[self.class_outputs :: 4] = -1  # of the shift along x
        return outputs * signs

    def activate(self, class_outputs: Tensor) -> Tensor:
        """Convert outputs of the classes to scores (N, K), without background."""
        return CLASS_OUTPUTS[self.kind].activate(class_outputs)

    def scores(self, features: Tensor) -> Tensor:
        """Compute scores (N, K) of features float32 (N, D), without the offsets."""
        return self.activate(self._linear(features, slice(self.class_outputs)))

    def offsets(self, features: Tensor) -> Tensor:
        """Compute offsets (N, K, 4), as `boxes.encode_boxes` defines them, of features float32 (N, D)."""
        return self._linear(features, slice(self.class_outputs, None)).unflatten(1, (-1, 4))

    def without_box_regression(self) -> Heads:
        """Return heads of the classes alone, with the same weights; they can `split` the outputs of these, too."""
        n = self.class_outputs
        heads = Heads.from_linear(self.kind, (self.weight.data[:n], self.bias.data[:n]))
        heads.scale = self.scale
        return heads

    def rescale(self, scale: float) -> None:
        """Multiply features by `scale` from now on; the outputs stay the same."""
        before = torch.ones((), device=self.weight.device) if self.scale is None else self.scale
        self.weight.data *= before / scale
        self.scale = torch.full_like(before, scale)

    def fold_scale(self) -> None:
        """Fold `scale` into the weights; the outputs stay the same."""
        self.rescale(1.0)
        self.scale = None

    def class_weights(self) -> LinearWeights:
        """Return weight (K, D) and bias (K,) of the classes' outputs, without background, for unscaled features."""
        classes = slice(self.class_outputs - self.num_classes, self.class_outputs)
        weight, bias = self.weight.data[classes], self.bias.data[classes]
        return (weight if self.scale is None else weight * self.scale), bias

    def _linear(self, features: Tensor, outputs: slice) -> Tensor:
        weight = self.weight[outputs]
        check_tensor(features, "features", weight.dtype, None, self.dimension)
        if features.device != weight.device:
            raise InputError("on another device", field="features", expected=weight.device, got=features.device)
        if self.scale is not None:
            weight = weight * self.scale  # smaller than the features
        return F.linear(features, weight, self.bias[outputs])


def mean_norm(features: Tensor) -> float:
    """Compute the mean L2 norm of the rows of features (n, D), chunk by chunk."""
    if len(features) == 0:
        return 1.0
    total = sum(float(rows.float().norm(dim=1).sum()) for rows in features.split(ROWS_PER_CHUNK))
    return max(total / len(features), 1e-12)
