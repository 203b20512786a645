"""Parameters of the heads: their kinds, the meaning of their outputs, and how each kind is fitted.

Another kind of head needs an entry in each part here, heads/NAME.py, and its case in training/fit_heads.py. Nothing
here imports torch, so that `sppdet --help` stays quick.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sppdet.config.record import at_least, fraction, positive, section, within

if TYPE_CHECKING:
    from torch import Tensor

HeadKind = Literal["svm", "softmax"]


@dataclass(frozen=True)
class ClassOutputs:
    """The meaning of the class outputs of a kind of head.

    background: number of outputs of the background, before those of the K classes. activate: function from all of them,
    (N, background + K), to scores (N, K). min_score: default of selection.min_score.
    """

    background: int
    activate: "Callable[[Tensor], Tensor]"
    min_score: float


CLASS_OUTPUTS: dict[HeadKind, ClassOutputs] = {
    "svm": ClassOutputs(0, lambda margins: margins, min_score=-1.5),  # as in R-CNN's code
    "softmax": ClassOutputs(1, lambda logits: logits.softmax(dim=1)[:, 1:], min_score=0.01),
}


@section("svm")
class SVMConfig:
    """One-vs-rest linear SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

    Args:
        C: weight of the hinge losses against the regularizer.
        loss: hinge (L1, as in the paper) or squared_hinge.
        positive_weight: weight of the losses of positives; that of negatives is 1.
        feature_norm: mean L2 norm that the features are scaled to.
        bias: value of the constant feature that carries the bias.
        negative_iou: IoU with every object of a class below which a region is a negative of the class.
        duplicate_iou: IoU above which only the hardest of an image's overlapping hard negatives is kept.
        random_negatives: random negatives per image to start from.
        hard_margin: score above which a negative is hard.
        easy_margin: score below which, for every class, a negative is dropped at a refit.
        hard_negatives: maximum number of new hard negatives per image and pass, hardest first.
        refit_every: new hard negatives of all classes between refits (the authors' code: 2,000 of each class).
        passes: passes over the images.
        max_examples: maximum number of examples kept at once; each takes 2 bytes per feature.
        gap: relative duality gap at which a fit has converged.
        epochs: maximum number of epochs per fit.
    """

    C: float = positive(0.001)
    loss: Literal["hinge", "squared_hinge"] = "hinge"
    positive_weight: float = positive(2.0)
    feature_norm: float = positive(20.0)
    bias: float = within(-1e6, 1e6, 10.0)
    negative_iou: float = fraction(0.3)
    duplicate_iou: float = fraction(0.7)
    random_negatives: int = at_least(0, 10)
    hard_margin: float = within(-1e6, 1e6, -1.0001)
    easy_margin: float = within(-1e6, 1e6, -1.2)
    hard_negatives: int = at_least(0, 60)
    refit_every: int = at_least(1, 8000)
    passes: int = at_least(0, 1)
    max_examples: int = at_least(1, 50_000)
    gap: float = at_least(0, 0.01)
    epochs: int = at_least(1, 100)


@section("softmax")
class SoftmaxConfig:
    """Softmax layer fitted to frozen features.

    Args:
        foreground_iou: IoU with an object from which a region is an example of its class.
        background_iou: best IoU from which, up to foreground_iou, a region is background.
        regions_per_image: examples per image.
        foreground: fraction of foreground among the examples.
        weight_decay: L2 penalty on the weights.
        iterations: maximum number of L-BFGS iterations.
    """

    foreground_iou: float = fraction(0.5)
    background_iou: float = fraction(0.1)
    regions_per_image: int = at_least(1, 64)
    foreground: float = fraction(0.25)
    weight_decay: float = at_least(0, 1e-4)
    iterations: int = at_least(1, 100)


@section("")
class HeadSections:
    """The sections of all kinds of head, which a training has."""

    svm: SVMConfig = field(default_factory=SVMConfig)
    softmax: SoftmaxConfig = field(default_factory=SoftmaxConfig)
