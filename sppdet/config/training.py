"""Every parameter of a training. Nothing here imports torch, so that `sppdet --help` stays quick."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from sppdet.config.data import DataConfig
from sppdet.config.detector import DetectorConfig
from sppdet.config.network import Device, Precision
from sppdet.config.record import at_least, below_1, fraction, positive, section
from sppdet.errors import ConfigError


@section("svm")
class SVMConfig:
    """One-vs-rest linear SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

    Args:
        C: weight of the hinge losses against the regularizer.
        loss: hinge (L1, the paper's) or squared_hinge.
        positive_weight: the positives' losses count so many times.
        feature_norm: features are multiplied by one number that makes their mean L2 norm this.
        bias: value of the constant feature that carries the bias.
        negative_iou: a region is a negative of a class when its IoU with every object of the class is below this.
        duplicate_iou: of hard negatives of an image that overlap by more than this, the hardest stays.
        random_negatives: negatives an image to start from.
        hard_margin: regions scoring above this for a class they are a negative of are hard.
        easy_margin: at a refit, negatives scoring below this for every class are dropped.
        hard_negatives: at most so many new hard negatives an image and pass, hardest first.
        refit_every: new hard negatives, of all classes together, between refits (the code: 2,000 of each class).
        passes: passes over the images.
        max_examples: bound on the examples kept at once; each takes 2 bytes a feature.
        gap: relative duality gap at which a fit is good.
        epochs: most epochs in one fit.
    """

    C: float = positive(0.001)
    loss: Literal["hinge", "squared_hinge"] = "hinge"
    positive_weight: float = positive(2.0)
    feature_norm: float = positive(20.0)
    bias: float = 10.0
    negative_iou: float = fraction(0.3)
    duplicate_iou: float = fraction(0.7)
    random_negatives: int = at_least(0, 10)
    hard_margin: float = -1.0001
    easy_margin: float = -1.2
    hard_negatives: int = at_least(0, 60)
    refit_every: int = at_least(1, 8000)
    passes: int = at_least(0, 1)
    max_examples: int = at_least(1, 50_000)
    gap: float = at_least(0, 0.01)
    epochs: int = at_least(1, 100)


@section("softmax")
class SoftmaxConfig:
    """A softmax layer fitted on frozen features.

    Args:
        foreground_iou: regions with at least this IoU with an object are examples of its class.
        background_iou: regions whose best IoU lies from this to foreground_iou are background.
        regions_per_image: examples an image.
        foreground: share of foreground among them.
        weight_decay: L2 penalty on the weights.
        iterations: L-BFGS iterations at most.
    """

    foreground_iou: float = fraction(0.5)
    background_iou: float = fraction(0.1)
    regions_per_image: int = at_least(1, 64)
    foreground: float = fraction(0.25)
    weight_decay: float = at_least(0, 1e-4)
    iterations: int = at_least(1, 100)


@section("finetune")
class FinetuneConfig:
    """Fine-tuning by gradient descent before the heads are fitted (SPPnet, section 4.1; Fast R-CNN, section 2.3).

    Its regions are of the kinds and shares that `softmax` says. Its learning rate rises over the first twentieth of the
    steps, then falls to 0 along a cosine.

    Args:
        epochs: passes over the images; 0: the network stays as it is.
        blocks: how many of the network's last blocks (a convolution, a Fire module, a stage of residual blocks) are
            trained with the fully connected layers; 0: these alone, as in SPPnet.
        learning_rate: the highest.
        feature_norm: the features that the heads see are multiplied by one number that makes their mean L2 norm this:
            the lower, the more is left to the network to learn.
        weight_decay: L2 penalty on all that is trained.
        batch_size: images a step.
        regions_per_image: examples an image.
        scales: of each image one is drawn for its shorter side; none: of spp.scales. Crops have one size.
        dropout: share left out of each fully connected layer's features, and of pooled ones where there are no layers.
        flip: mirror half of the images.
        clip: the gradient's norm is made no larger than this.
    """

    epochs: int = at_least(0, 0)
    blocks: int = at_least(0, 0)
    learning_rate: float = at_least(0, 0.002)
    feature_norm: float = positive(5.0)
    weight_decay: float = at_least(0, 5e-4)
    batch_size: int = at_least(1, 2)
    regions_per_image: int = at_least(1, 128)
    scales: tuple[int, ...] = at_least(1, ())
    dropout: float = below_1(0.5)
    flip: bool = True
    clip: float = positive(10.0)


@section("box_regression")
class BoxRegressionConfig:
    """Class-specific ridge regression from a region's features to its object's box (R-CNN, appendix C).

    Args:
        enabled: fit and use it.
        ridge: the regularizer, on features whose mean norm is svm.feature_norm (SPPnet 4000 at IoU 0.5; R-CNN 1000 at
            0.6); it shrinks with the share of the examples that is used.
        iou: proposals with more than this IoU with an object are examples.
        max_per_object: at most so many examples an object.
        max_per_class: at most so many examples a class.
    """

    enabled: bool = True
    ridge: float = positive(4000.0)
    iou: float = fraction(0.5)
    max_per_object: int = at_least(1, 16)
    max_per_class: int = at_least(1, 2000)


@section("")
class TrainConfig(DetectorConfig):
    """A detector and how it is trained.

    Args:
        features: where a region's features come from: spp, roi_pool or roi_align (one pass an image), or crop (R-CNN).
        head: linear SVMs or softmax.
        data: the training images.
        val: image list (VOC) or annotation file (COCO) on which thresholds are chosen and a first mAP is measured.
            Its images are held out while that is done; detectors are then refitted on all of data. When there is
            none, every fifth image is held out.
        calibration: how scores become probabilities, fitted on val: platt, a sigmoid, or isotonic, for a large val.
        output: the run's folder.
        device: cpu or cuda.
        precision: of the convolutions; fp16 not with fine-tuning.
        workers: images searched at once, a thread each; 0: one, in the main thread.
        cache_gb: most gigabytes of feature maps to keep on disk for this training.
        memory_gb: most gigabytes of memory to take while heads are fitted; fewer examples are kept at once where they
            would take more. Fine-tuning takes what its images need.
        seed: of every random choice.
    """

    data: DataConfig = field(default_factory=DataConfig)
    val: str = "val"
    calibration: Literal["platt", "isotonic"] = "platt"
    svm: SVMConfig = field(default_factory=SVMConfig)
    softmax: SoftmaxConfig = field(default_factory=SoftmaxConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    box_regression: BoxRegressionConfig = field(default_factory=BoxRegressionConfig)
    output: str = "runs/spp"
    device: Device = "cpu"
    precision: Precision = "fp32"
    workers: int = at_least(0, 2)
    cache_gb: float = at_least(0, 40.0)
    memory_gb: float = positive(6.0)
    seed: int = at_least(0, 0)

    def check(self) -> None:
        if not self.finetune.epochs:
            return
        if self.precision == "fp16":
            raise ConfigError(
                "too small a range for gradients", field="precision", expected="fp32 or bf16", got=self.precision
            )
        if not self.finetune.blocks and not self.fc.depth:
            expected = "at least 1, or a fc.depth of 1 or 2"
            raise ConfigError("leaves nothing to fine-tune", field="finetune.blocks", expected=expected, got=0)
