"""Parameters of a classifier and its training. Nothing here imports torch, so that `sppdet --help` stays quick."""

from dataclasses import field
from typing import Literal

from sppdet.config.network import Device, NetworkConfig, Precision, refuse_fp16
from sppdet.config.record import at_least, below_1, positive, section, seed
from sppdet.errors import ConfigError

View = Literal["full", "crop", "warp"]
ViewKind = Literal["full", "crop", "warp", "10views", "96views"]


@section("")
class ClassifierConfig(NetworkConfig):
    """Everything that turns an image into class scores, except the weights; stored in the classifier's file.

    Args:
        fc: fully connected layers between pooling and the last layer, which gives one score per class.
        view: part of the image that the network sees. full: the image resized to a shorter side of `sizes`, aspect kept
            (up to 4 to 1); crop: a square cut out of that; warp: the whole image squeezed into the square.
        sizes: training sizes, in pixels. The first is the default for testing.
    """

    view: View = "full"
    sizes: tuple[int, ...] = at_least(1, (224,), 8192)


@section("views")
class ViewsConfig:
    """Views of an image scored in testing; their probabilities are averaged (section 3.1).

    Args:
        kind: full, crop or warp, as in training; 10views: corners and center of an image and of its mirror image;
            96views: the middles of the sides as well, at six sizes. 10views and 96views are windows of feature maps
            that are computed once per size. By default the training's.
        sizes: shorter sides of the image, in pixels; by default the first training size s, for 10views 256 / 224 s, and
            for 96views 224, 256, 300, 360, 448 and 560 / 224 s.
        window: side of the views of 10views and 96views, in pixels; by default s.
        flip: add the mirror image, as 10views and 96views always do.
        full_image: add each whole map to the windows of 10views and 96views.
    """

    kind: ViewKind | None = None
    sizes: tuple[int, ...] = at_least(1, (), 8192)
    window: int | None = at_least(1, None, 8192)
    flip: bool = False
    full_image: bool = False

    def check(self) -> None:
        if self.window is not None and self.kind not in ("10views", "96views"):
            got = f"kind {self.kind or 'of training'}"
            raise ConfigError("has no windows", field="views.window", expected="with kind 10views or 96views", got=got)


@section("fit")
class FitConfig:
    """Gradient descent with one cycle of the learning rate (Smith and Topin 2018).

    The learning rate rises over the first 30% of the steps and falls almost to 0; momentum does the opposite.

    Args:
        epochs: passes over the images.
        batch_size: images per step.
        optimizer: sgd, with momentum, or adamw.
        learning_rate: peak learning rate.
        weight_decay: L2 penalty (sgd) or decay (adamw) of all trained weights.
        label_smoothing: fraction of the target that is spread over all classes.
    """

    epochs: int = at_least(1, 20)
    batch_size: int = at_least(1, 32)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = positive(0.01)
    weight_decay: float = at_least(0, 5e-4)
    label_smoothing: float = below_1(0.0)


@section("data")
class FoldersConfig:
    """Images in torchvision's ImageFolder layout: one folder per class.

    Args:
        train: training images.
        val: images to measure the accuracy on at the end; by default none.
        skip_unreadable: leave out images that cannot be decoded, instead of stopping.
        allow_outside: read images outside of these folders too, which links in them lead to.
    """

    train: str = ""
    val: str | None = None
    skip_unreadable: bool = False
    allow_outside: bool = False


@section("")
class TrainClassifierConfig(ClassifierConfig):
    """A classifier and its training.

    Args:
        size_order: order of the sizes from epoch to epoch, with one set of weights. alternate: one after the other;
            random: any from the smallest to the largest.
        blocks: number of the network's last blocks (a convolution, Fire module or stage of residual blocks) to train
            with the fully connected layers; 0: none; null: the whole network with its batch normalization, as random
            weights need.
        fit: gradient descent.
        feature_norm: mean L2 norm that the features are scaled to before the last layer, at the beginning.
        dropout: fraction of the features dropped before the last layer and after each other fully connected layer.
        flip: mirror half of the images.
        data: the images.
        output: folder of the run.
        device: auto (CUDA if torch finds it), cpu or cuda.
        precision: number format of the convolutions; training does not work in fp16.
        workers: threads reading images.
        memory_gb: maximum gigabytes for features of a network without trained blocks, which are then computed once; if
            they would take more, or with view crop, they are computed in every epoch.
        tensorboard: write the numbers of the training for TensorBoard too, into the folder tensorboard of the run.
        seed: seed for all random choices.
    """

    size_order: Literal["alternate", "random"] = "alternate"
    blocks: int | None = at_least(0, 0)
    fit: FitConfig = field(default_factory=FitConfig)
    feature_norm: float = positive(20.0)
    dropout: float = below_1(0.5)
    flip: bool = True
    data: FoldersConfig = field(default_factory=FoldersConfig)
    output: str = "runs/classifier"
    device: Device = "auto"
    precision: Precision = "fp32"
    workers: int = at_least(1, 2, 1024)
    memory_gb: float = at_least(0, 4.0, 1e6)
    tensorboard: bool = False
    seed: int = seed(0)

    def check(self) -> None:
        refuse_fp16(self.precision)
