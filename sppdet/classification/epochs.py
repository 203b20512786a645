"""The images of a classifier's training, in random order and random views."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sppdet.classification.classifier import Classifier
from sppdet.classification.views import resize_to_view
from sppdet.config.classification import TrainClassifierConfig
from sppdet.data.formats.image_folder import ImageFolder
from sppdet.images import read_image
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import rank, spread, world

# Inputs of the model, such as pixels uint8 (B, 3, H, W), with labels int64 (B,).
Batch = tuple[Tensor | list[Tensor], Tensor]


@dataclass(frozen=True)
class Sample:
    """A view of the image with this index: its size, whether it is mirrored, and the position of a crop in [0, 1]."""

    index: int
    size: int
    mirrored: bool
    crop_position: float


class Epochs:
    """The images of a training in random order, which depends on the seed and the epoch only.

    A batch is pixels, or the pooled features of a frozen network.
    """

    def __init__(self, images: ImageFolder, config: TrainClassifierConfig) -> None:
        self.images, self.config = images, config
        self.steps = -(-len(images.files) // config.fit.batch_size)
        self._pooled: dict[Sample, Tensor] = {}
        self._device = torch.device("cpu")

    def size(self, epoch: int) -> int:
        """Return the image size of an epoch (section 3.1): the next of `sizes`, or a random one in their range."""
        sizes, seed = self.config.sizes, self.config.seed
        if self.config.size_order == "alternate":
            return sizes[epoch % len(sizes)]
        return int(np.random.default_rng([seed, epoch, 1]).integers(min(sizes), max(sizes) + 1))

    def plan(self, epoch: int) -> list[list[Sample]]:
        """Return the batches of an epoch."""
        rng = np.random.default_rng([self.config.seed, epoch])
        count, size, batch = len(self.images.files), self.size(epoch), self.config.fit.batch_size
        mirrored = rng.random(count) < 0.5 * self.config.flip
        positions = rng.random(count) if self.config.view == "crop" else np.full(count, 0.5)
        rows = zip(rng.permutation(count).tolist(), mirrored.tolist(), positions.tolist(), strict=True)
        samples = [Sample(i, size, flip, position) for i, flip, position in rows]
        return [samples[start : start + batch] for start in range(0, count, batch)]

    def read(self, sample: Sample) -> Tensor:
        """Read the pixels uint8 (3, h, w) of a sample. Raises ImageError if the file cannot be decoded."""
        image = read_image(self.images.files[sample.index])
        pixels = resize_to_view(image, sample.size, self.config.view, sample.crop_position)
        return pixels.flip(2) if sample.mirrored else pixels

    def labels(self, batch: list[Sample]) -> Tensor:
        return self.images.labels[[sample.index for sample in batch]]

    def pixels(self, epoch: int) -> Iterator[Batch]:
        """Yield the epoch's batches, this rank's part of the images; the next are read while the caller works."""
        plan = self.plan(epoch)
        samples = (sample for batch in plan for sample in batch[rank() :: world()])
        images = prefetch(samples, self.read, self.config.workers, ahead=self.config.fit.batch_size)
        for batch in plan:
            yield [next(images) for _ in batch[rank() :: world()]], self.labels(batch)

    def views(self) -> list[Sample]:
        """Return the samples of all epochs, each once."""
        plans = (self.plan(epoch) for epoch in range(self.config.fit.epochs))
        return list(dict.fromkeys(sample for plan in plans for batch in plan for sample in batch))

    def pool(self, views: Sequence[Sample], classifier: Classifier) -> None:
        """Compute the features of a frozen network that `pooled` yields."""
        self._device = classifier.backbone.device
        found = spread(views, lambda view: (classifier.pool([self.read(view)])[0].half().cpu(),))
        for view, (features,) in trim_memory(zip(progress(views, "features", unit="view"), found, strict=True)):
            self._pooled[view] = features

    def pooled(self, epoch: int) -> Iterator[Batch]:
        """Yield the epoch's batches as pooled features float32 (B, D), on the device of the network."""
        for batch in self.plan(epoch):
            pooled = torch.stack([self._pooled[sample] for sample in batch])
            yield pooled.to(self._device).float(), self.labels(batch)

    def pooled_bytes(self, length: int) -> int:
        """Return the memory that `pooled` takes for features of this length, in bytes."""
        sizes = {self.size(epoch) for epoch in range(self.config.fit.epochs)}
        return 2 * length * len(self.images.files) * len(sizes) * (1 + self.config.flip)
