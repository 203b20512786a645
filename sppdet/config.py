"""Every parameter of a detector and of its training, as frozen records read from YAML and dotted overrides.

The defaults are the paper's where it speaks (He et al. 2014, section 4.1); where the authors' code differs, a named
option says so. Nothing here imports torch, so that `sppdet --help` stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from os import PathLike
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from sppdet.errors import ConfigError

T = TypeVar("T")

FeatureKind = Literal["spp", "crop"]
Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class DataConfig:
    """Where the images and their annotations are.

    Args:
        root: VOC layout: the year's folder, VOCdevkit or its parent. COCO format: the folder of images.
        split: image list in ImageSets/Main. For COCO format only a name.
        annotations: COCO-format annotation file; setting it means the data are in COCO format.
        year: VOC year, where root holds more than one.
        classes: class names in the order of their labels; found from the data when not given.
        images: only the first so many images of the split.
    """

    root: str = ""
    split: str = "trainval"
    annotations: str | None = None
    year: str | None = None
    classes: list[str] | None = None
    images: int | None = None


@dataclass(frozen=True)
class ProposalConfig:
    """Selective search (Uijlings et al. 2013), or proposals made by another program.

    Args:
        mode: fast or quality, with the paper's settings; opencv_fast or opencv_quality, with those of OpenCV.
        width: the image is resized to this width first, as R-CNN did, and boxes are scaled back; null: as it is.
        min_side: boxes with a side under this many pixels of the searched image are dropped.
        limit: at most this many boxes an image, best first.
        file: proposals made by another program (COCO-style .json, .npz, R-CNN's .mat) in place of selective search.
    """

    mode: Literal["fast", "quality", "opencv_fast", "opencv_quality"] = "fast"
    width: int | None = 500
    min_side: int = 20
    limit: int = 2000
    file: str | None = None


@dataclass(frozen=True)
class BackboneConfig:
    """The convolutional network, up to its last convolution (conv5).

    Args:
        name: alexnet, caffenet, zf5, squeezenet1_0, squeezenet1_1, vgg16, vgg16_caffe, resnet18, resnet50 or shapenet;
            vgg16_caffe pools as the original does, vgg16 as torchvision's.
        weights: a weight file (`sppdet convert` makes one of Caffe's), a name of torchvision's weights enum ("DEFAULT",
            "IMAGENET1K_V1"), or "random".
    """

    name: str = "squeezenet1_0"
    weights: str = "DEFAULT"


@dataclass(frozen=True)
class PyramidConfig:
    """Spatial pyramid pooling of a region's conv5 cells (section 2.2).

    Args:
        levels: bins a side of each level.
        mode: max or average of a bin's cells.
    """

    levels: tuple[int, ...] = (6, 3, 2, 1)
    mode: Literal["max", "average"] = "max"


@dataclass(frozen=True)
class LayersConfig:
    """Fully connected layers between pooling and heads (SPPnet, section 4; R-CNN, section 2.1).

    Args:
        depth: 0: heads on the pooled features (pool5); 1: on those of fc6; 2: of fc7. alexnet, caffenet and vgg16 bring
            theirs with their weights and need the pyramid level that fits, 6 or 7; zf5 brings its own and needs 6, 3, 2
            and 1; other networks get random ones.
        width: features that each of the random layers gives.
    """

    depth: int = 0
    width: int = 4096


@dataclass(frozen=True)
class SPPConfig:
    """Features of a whole-image pass (features: spp).

    Args:
        scales: the image is resized so that its shorter side is each of these, in pixels.
        rule: how a box becomes a window of cells: the paper's, the authors' code's, or Fast R-CNN's rounding.
        scale_rule: how a window's scale is chosen among several: the paper's (area nearest 224^2) or the code's.
    """

    scales: tuple[int, ...] = (688,)
    rule: Literal["paper", "code", "round"] = "paper"
    scale_rule: Literal["paper", "code"] = "paper"


@dataclass(frozen=True)
class CropConfig:
    """Features of warped crops (features: crop), as in R-CNN.

    Args:
        size: side of the warped crop in pixels.
        context: pixels of the crop's border that show what surrounds the box.
        batch: crops in one pass of the network; on CPUs a few are quickest, on GPUs many.
    """

    size: int = 227
    context: int = 16
    batch: int = 4


@dataclass(frozen=True)
class SVMConfig:
    """One-vs-rest linear SVMs with hard-negative mining (R-CNN, section 2.3; SPPnet, section 4.1).

    Args:
        C: weight of the hinge losses against the regulariser.
        loss: hinge (L1, the paper's) or squared_hinge.
        positive_weight: the positives' losses count so many times.
        feature_norm: features are multiplied by one number that makes their mean L2 norm this.
        bias: value of the constant feature that carries the bias.
        negative_iou: a region is a negative of a class when its IoU with every object of the class is below this.
        duplicate_iou: of hard negatives of an image that overlap by more than this, the hardest stays.
        random_negatives: negatives an image to start from.
        mine: regions scoring above this for a class they are a negative of are hard.
        evict: at a refit, negatives scoring below this for every class are dropped.
        hard_negatives: at most so many new hard negatives an image and pass, hardest first.
        refit_every: new hard negatives, of all classes together, between refits (the code: 2,000 of each class).
        passes: passes over the images.
        max_examples: bound on the examples kept at once; each takes 2 bytes a feature.
        gap: relative duality gap at which a fit is good.
        epochs: most epochs in one fit.
    """

    C: float = 0.001
    loss: Literal["hinge", "squared_hinge"] = "hinge"
    positive_weight: float = 2.0
    feature_norm: float = 20.0
    bias: float = 10.0
    negative_iou: float = 0.3
    duplicate_iou: float = 0.7
    random_negatives: int = 10
    mine: float = -1.0001
    evict: float = -1.2
    hard_negatives: int = 60
    refit_every: int = 8000
    passes: int = 1
    max_examples: int = 50_000
    gap: float = 0.01
    epochs: int = 100


@dataclass(frozen=True)
class SoftmaxConfig:
    """A softmax layer fitted on frozen features.

    Args:
        foreground_iou: regions with at least this IoU with an object are examples of its class.
        background_iou: regions whose best IoU lies from this to foreground_iou are background.
        regions: examples an image.
        foreground: share of foreground among them.
        weight_decay: L2 penalty on the weights.
        iterations: L-BFGS iterations at most.
    """

    foreground_iou: float = 0.5
    background_iou: float = 0.1
    regions: int = 64
    foreground: float = 0.25
    weight_decay: float = 1e-4
    iterations: int = 100


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning by gradient descent before the heads are fitted (SPPnet, section 4.1; Fast R-CNN, section 2.3).

    Its regions are sampled as `softmax` says, and its learning rate rises over the first twentieth of the steps, then
    falls to 0 along a cosine.

    Args:
        epochs: passes over the images; 0: the network stays as it is.
        blocks: how many of the network's last blocks (a convolution, a Fire module, a stage of residual blocks) are
            trained with the fully connected layers; 0: these alone, as in SPPnet.
        learning_rate: the highest.
        weight_decay: L2 penalty on all that is trained.
        images: images a step.
        dropout: share of each fully connected layer's features left out.
        flip: mirror half of the images.
        clip: the gradient's norm is made no larger than this.
    """

    epochs: int = 0
    blocks: int = 0
    learning_rate: float = 0.0003
    weight_decay: float = 5e-4
    images: int = 2
    dropout: float = 0.5
    flip: bool = True
    clip: float = 10.0


@dataclass(frozen=True)
class BoxRegressionConfig:
    """Class-specific ridge regression from a region's features to its object's box (R-CNN, appendix C).

    Args:
        enabled: fit and use it.
        ridge: the regulariser, on features whose mean norm is svm.feature_norm (SPPnet 4000 at IoU 0.5; R-CNN 1000 at
            0.6); it shrinks with the share of the examples that is used.
        iou: proposals with more than this IoU with an object are examples.
        per_object: at most so many examples an object.
        per_class: at most so many examples a class.
    """

    enabled: bool = True
    ridge: float = 4000.0
    iou: float = 0.5
    per_object: int = 16
    per_class: int = 2000


@dataclass(frozen=True)
class SelectionConfig:
    """Which scored regions become detections.

    Args:
        score: scores must be greater; null: -1.5 for SVMs, 0.01 for softmax.
        nms_iou: a box is suppressed when its IoU with a better one of its class is greater.
        per_class: at most so many detections a class and image.
    """

    score: float | None = None
    nms_iou: float = 0.3
    per_class: int = 100


@dataclass(frozen=True)
class DetectorConfig:
    """What a detector is, as stored in its file: all that turns an image into detections except the weights."""

    features: FeatureKind = "spp"
    head: Literal["svm", "softmax"] = "svm"
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)
    spp: SPPConfig = field(default_factory=SPPConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)


@dataclass(frozen=True)
class TrainConfig(DetectorConfig):
    """A detector and how it is trained.

    Args:
        features: where a region's features come from: spp (one pass an image) or crop (R-CNN).
        head: linear SVMs or softmax.
        data: the training images.
        val: image list (VOC) or annotation file (COCO) on which thresholds are chosen and a first mAP is measured.
            Its images are held out while that is done; detectors are then refitted on all of data. When there is
            none, every fifth image is held out.
        calibration: how scores become probabilities, fitted on val: platt, a sigmoid, or isotonic, for a large val.
        output: the run's folder.
        device: cpu or cuda.
        precision: of the convolutions, fine-tuning apart.
        workers: images searched at once, a thread each; 0: one, in the main thread.
        cache_gb: most gigabytes of feature maps to keep on disk for this training.
        memory: most gigabytes of memory to take; fewer examples are kept at once where they would take more.
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
    workers: int = 2
    cache_gb: float = 40.0
    memory: float = 6.0
    seed: int = 0


def config_from_dict(kind: type[T], values: dict[str, Any], file: str | PathLike[str] | None = None) -> T:
    """A configuration record from the plain values that `dataclasses.asdict` gave, lists back to tuples.

    Raises ConfigError that names the file and the first key that is unknown or whose value cannot be read.
    """
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError("unknown configuration key", file=file, field=name, expected=", ".join(sorted(hints)))
        nested, several = is_dataclass(hints[name]), get_origin(hints[name]) is tuple
        if (nested and not isinstance(value, dict)) or (several and not isinstance(value, (list, tuple))):
            raise ConfigError("cannot be read", file=file, field=name, expected="keys" if nested else "list", got=value)
        if nested:
            value = config_from_dict(hints[name], value, file)
        elif several:
            value = tuple(value)
        arguments[name] = value
    return kind(**arguments)
