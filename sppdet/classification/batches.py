"""The batches of a training: pixels, or the pooled features of a frozen network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sppdet.classification.classifier import Classifier
from sppdet.classification.fit import Batch
from sppdet.classification.transforms import resize_to_view
from sppdet.config.classification import TrainClassifierConfig
from sppdet.data.image_folder import ImageFolder
from sppdet.images import read_image
from sppdet.runtime.memory import release_freed_memory
from sppdet.runtime.prefetch import prefetch


def size_of_epoch(sizes: Sequence[int], epoch: int, order: Literal["alternate", "random"], seed: int) -> int:
    """Return the image size of an epoch (section 3.1): the next of `sizes`, or a random one in their range."""
    if order == "alternate":
        return sizes[epoch % len(sizes)]
    return int(np.random.default_rng([seed, epoch, 1]).integers(min(sizes), max(sizes) + 1))


@dataclass(frozen=True)
class Sample:
    """A view of the image with this index: its size, whether it is mirrored, and the position of a crop in [0, 1]."""

    index: int
    size: int
    mirrored: bool
    crop_position: float


class Epochs:
    """The images of a training in random order. All randomness depends on the seed and the epoch only."""

    def __init__(self, images: ImageFolder, config: TrainClassifierConfig) -> None:
        self.images, self.config = images, config
        self.steps = -(-len(images.files) // config.fit.batch_size)
        self._pooled: dict[Sample, Tensor] = {}

    def size(self, epoch: int) -> int:
        return size_of_epoch(self.config.sizes, epoch, self.config.size_order, self.config.seed)

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
        """Yield the epoch's batches as lists of images; the next batch is read while the caller works on one."""
        plan = self.plan(epoch)
        samples = (sample for batch in plan for sample in batch)
        images = prefetch(samples, self.read, self.config.workers, ahead=self.config.fit.batch_size)
        for batch in plan:
            yield [next(images) for _ in batch], self.labels(batch)

    def pooled(self, epoch: int, classifier: Classifier) -> Iterator[Batch]:
        """Yield the epoch's batches as pooled features float32 (B, D) of a frozen network, computed once per view."""
        for batch in self.plan(epoch):
            missing = [sample for sample in batch if sample not in self._pooled]
            for sample in missing:
                self._pooled[sample] = classifier.pool([self.read(sample)])[0].half()
            if missing:
                release_freed_memory()  # images of many sizes fragment it
            yield torch.stack([self._pooled[sample] for sample in batch]).float(), self.labels(batch)

    def pooled_bytes(self, length: int) -> int:
        """Return the memory that `pooled` takes for features of this length, in bytes."""
        sizes = {self.size(epoch) for epoch in range(self.config.fit.epochs)}
        return 2 * length * len(self.images.files) * len(sizes) * (1 + self.config.flip)
