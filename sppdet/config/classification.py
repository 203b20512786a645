"""Every parameter of a classifier and its training. Nothing here imports torch, so that `sppdet --help` stays quick."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from sppdet.config.network import Device, NetworkConfig, Precision
from sppdet.config.record import at_least, below_1, positive, section
from sppdet.errors import ConfigError

View = Literal["full", "crop", "warp"]


@section("")
class ClassifierConfig(NetworkConfig):
    """What a classifier is, as stored in its file: all that turns an image into class scores except the weights.

    Args:
        layers: fully connected layers between pooling and the last one, which gives a score a class.
        view: what the network sees of an image at a size. full: all of it, the shorter side of this size, aspect kept
            (up to 4 to 1); crop: a square of this size out of that; warp: all of it, squeezed into the square.
        sizes: pixels that it is trained at. It is tested at the first where not told otherwise.
    """

    view: View = "full"
    sizes: tuple[int, ...] = at_least(1, (224,))


@section("views")
class ViewsConfig:
    """What of an image is scored in testing; the views' probabilities are averaged (section 3.1).

    Args:
        kind: full, crop or warp, as in training; 10views: the corners and the center of an image and its mirror image;
            96views: the middles of the sides as well, at six sizes. 10views and 96views are windows of the feature
            maps, which are computed once a size. By default that which the classifier was trained with.
        sizes: pixels of the shorter side; by default the first that it was trained at, s, for 10views 256 / 224 s, and
            for 96views 224, 256, 300, 360, 448 and 560 / 224 s.
        window: side, in pixels, of the views of 10views and 96views; by default s.
        flip: the mirror image as well, as 10views and 96views always do.
        full_image: with 10views and 96views, each map as a whole beside its windows.
    """

    kind: Literal["full", "crop", "warp", "10views", "96views"] | None = None
    sizes: tuple[int, ...] = at_least(1, ())
    window: int | None = at_least(1, None)
    flip: bool = False
    full_image: bool = False

    def check(self) -> None:
        if self.window is not None and self.kind not in ("10views", "96views"):
            got = f"kind {self.kind or 'of training'}"
            raise ConfigError("has no windows", field="views.window", expected="with kind 10views or 96views", got=got)


@section("fit")
class FitConfig:
    """Gradient descent. The learning rate goes up over the first 30% of the steps and then down to almost 0, momentum
    the other way round (one cycle, Smith and Topin 2018).

    Args:
        epochs: passes over the images.
        batch_size: images a step.
        optimizer: sgd, with momentum, or adamw.
        learning_rate: the highest.
        weight_decay: L2 penalty (sgd), or decay (adamw), of all that is trained.
        label_smoothing: share of the target that is spread over all classes.
    """

    epochs: int = at_least(1, 20)
    batch_size: int = at_least(1, 32)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = positive(0.01)
    weight_decay: float = at_least(0, 5e-4)
    label_smoothing: float = below_1(0.0)


@section("data")
class FoldersConfig:
    """Images in torchvision's ImageFolder layout: a folder for each class.

    Args:
        train: images to train on.
        val: images whose accuracy is measured at the end; none where not given.
    """

    train: str = ""
    val: str | None = None


@section("")
class TrainClassifierConfig(ClassifierConfig):
    """A classifier and how it is trained.

    Args:
        size_order: how sizes change from epoch to epoch, with one set of weights. alternate: one after the other;
            random: any from the smallest to the largest of them.
        blocks: how many of the network's last blocks (a convolution, a Fire module, a stage of residual blocks) are
            trained with the fully connected layers; 0: none; null: the whole network and its batch normalization, as
            random weights need.
        fit: the gradient descent.
        feature_norm: what the last layer sees is multiplied by one number that makes its mean L2 norm this at the
            beginning.
        dropout: share of the features left out before the last layer, and after each other fully connected one.
        flip: mirror half of the images.
        data: the images.
        output: the run's folder.
        device: cpu or cuda.
        precision: of the convolutions; training cannot do with fp16.
        workers: images read at once, a thread each.
        memory_gb: most gigabytes for what a network of which no block is trained makes of the images, so that
            each is passed through it once; where they would take more, it is once an epoch, as with view crop.
        seed: of every random choice.
    """

    size_order: Literal["alternate", "random"] = "alternate"
    blocks: int | None = at_least(0, 0)
    fit: FitConfig = field(default_factory=FitConfig)
    feature_norm: float = positive(20.0)
    dropout: float = below_1(0.5)
    flip: bool = True
    data: FoldersConfig = field(default_factory=FoldersConfig)
    output: str = "runs/classifier"
    device: Device = "cpu"
    precision: Precision = "fp32"
    workers: int = at_least(1, 2)
    memory_gb: float = at_least(0, 4.0)
    seed: int = at_least(0, 0)

    def check(self) -> None:
        if self.precision == "fp16":
            raise ConfigError(
                "too small a range for gradients", field="precision", expected="fp32 or bf16", got=self.precision
            )
