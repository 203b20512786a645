"""Parameters of the training of a detector. Nothing here imports torch, so that `sppdet --help` stays quick."""

from dataclasses import field
from typing import Literal

from sppdet.config.data import DataConfig
from sppdet.config.detector import DetectorConfig
from sppdet.config.heads import HeadSections
from sppdet.config.network import Device, Precision, refuse_fp16
from sppdet.config.record import at_least, below_1, fraction, more_than, positive, section, seed
from sppdet.errors import ConfigError

BASE_GB = 1.5  # memory of a training without examples: libraries, the network, the features of one image


@section("finetune")
class FinetuneConfig:
    """Fine-tuning by gradient descent before the heads are fitted (SPPnet, section 4.1; Fast R-CNN, section 2.3).

    Regions are sampled as in `softmax`. The learning rate rises over the first 5% of the steps, then falls to 0 along a
    cosine.

    Args:
        epochs: passes over the images; 0: no fine-tuning.
        blocks: number of the network's last blocks (a convolution, Fire module or stage of residual blocks) to train
            with the fully connected layers; 0: only these layers, as in SPPnet.
        learning_rate: peak learning rate.
        feature_norm: mean L2 norm that the features are scaled to before the heads; the lower, the more the network
            has to learn.
        weight_decay: L2 penalty on all trained weights.
        batch_size: images per step.
        regions_per_image: examples per image.
        scales: shorter sides to sample from for each image, in pixels; none: spp.scales. Crops have one size.
        dropout: fraction of the features dropped after each fully connected layer, or of the pooled features if there
            is no layer.
        flip: mirror half of the images.
        clip: maximum norm of the gradient.
    """

    epochs: int = at_least(0, 0)
    blocks: int = at_least(0, 0)
    learning_rate: float = at_least(0, 0.002)
    feature_norm: float = positive(5.0)
    weight_decay: float = at_least(0, 5e-4)
    batch_size: int = at_least(1, 2)
    regions_per_image: int = at_least(1, 128)
    scales: tuple[int, ...] = at_least(1, (), 8192)
    dropout: float = below_1(0.5)
    flip: bool = True
    clip: float = positive(10.0)


@section("box_regression")
class BoxRegressionConfig:
    """Class-specific ridge regression from a region's features to its object's box (R-CNN, appendix C).

    Args:
        enabled: fit and use the regression.
        ridge: regularizer, for features of mean norm svm.feature_norm (SPPnet: 4000 at IoU 0.5; R-CNN: 1000 at 0.6);
            reduced with the fraction of the examples that is used.
        iou: IoU with an object above which a proposal is an example.
        max_per_object: maximum number of examples per object.
        max_per_class: maximum number of examples per class.
    """

    enabled: bool = True
    ridge: float = positive(4000.0)
    iou: float = fraction(0.5)
    max_per_object: int = at_least(1, 16)
    max_per_class: int = at_least(1, 2000)


@section("")
class TrainConfig(HeadSections, DetectorConfig):
    """A detector and its training.

    Args:
        features: source of a region's features: spp, roi_pool or roi_align (one pass per image), or crop (R-CNN).
        head: linear SVMs or softmax.
        mirror: score regions in the mirror image as well, in detection, and take the means: more accurate, and twice
            the time but for the proposals.
        data: the training images.
        val: split, or annotation file next to data.annotations, for choosing thresholds and measuring a first mAP. Its
            images are held out until then; the detector is then refitted to all of data. If it does not exist, every
            fifth image is held out.
        calibration: map from scores to probabilities, fitted on val: platt (a sigmoid), or isotonic, for a large val.
        output: folder of the run.
        device: auto (CUDA if torch finds it), cpu or cuda.
        precision: number format of the convolutions; fine-tuning does not work in fp16.
        workers: threads searching for proposals, one image each; 0: the main thread.
        cache_gb: maximum gigabytes of feature maps on disk.
        memory_gb: maximum gigabytes of memory while heads are fitted; bounds the number of examples kept at once. Of
            more objects than that a random choice is learnt from. Fine-tuning is not bounded.
        tensorboard: write the numbers of the training for TensorBoard too, into the folder tensorboard of the run.
        seed: seed for all random choices.
    """

    data: DataConfig = field(default_factory=DataConfig)
    val: str = "val"
    calibration: Literal["platt", "isotonic"] = "platt"
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    box_regression: BoxRegressionConfig = field(default_factory=BoxRegressionConfig)
    output: str = "runs/spp"
    device: Device = "auto"
    precision: Precision = "fp32"
    workers: int = at_least(0, 2, 1024)
    cache_gb: float = at_least(0, 40.0, 1e6)
    memory_gb: float = more_than(BASE_GB, 6.0, 1e6)
    tensorboard: bool = False
    seed: int = seed(0)

    def check(self) -> None:
        if not self.finetune.epochs:
            return
        refuse_fp16(self.precision)
        if not self.finetune.blocks and not self.fc.depth:
            expected = "at least 1, or a fc.depth of 1 or 2"
            raise ConfigError("leaves nothing to fine-tune", field="finetune.blocks", expected=expected, got=0)
