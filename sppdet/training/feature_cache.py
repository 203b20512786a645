"""A disk cache of the features of the training images, so that the network runs over each image only once.

SPPnet keeps conv5 maps in half precision (1-5 MB per image and scale) and pools them again at each pass; R-CNN has to
keep the features of every region.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sppdet.errors import ConfigError, SppdetError
from sppdet.features.extractor import FeatureExtractor, ImageFeatures, apply_to_features
from sppdet.files.atomic import content_key, hash_tensors, load_cached, load_tensors, save_cached
from sppdet.files.durable import cache_folder
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import meet, rank, world
from sppdet.training.sampling import ImageRegions

logger = logging.getLogger(__name__)


class FeatureCache:
    """Features of the regions of annotated images, computed once.

    A file's key holds the image's bytes, everything that the extractor's result depends on, and for crops the regions
    themselves. A damaged file is computed again.
    """

    def __init__(
        self, extractor: FeatureExtractor, regions: Sequence[ImageRegions], limit_gb: float, folder: Path | None = None
    ) -> None:
        """`folder`: place of the files; by default next to the other caches, where later trainings find them."""
        self.extractor, self.regions, self.limit_gb = extractor, regions, limit_gb
        self.dimension, self.device = extractor.dimension, extractor.backbone.device
        self.folder = folder or cache_folder() / "features"
        self._key = extractor.cache_key()
        settings = [f"{name} {value}" for name, value in extractor.describe().items() if name != "levels"]
        network = f"{extractor.backbone.name} {extractor.backbone.precision} {content_key(self._key)[:6]}"
        self._made_by = ", ".join([network, *settings])
        self._keys: dict[int, str] = {}
        self.computed = self.written = 0  # images, and their bytes on the disk

    def fill(self, images: Sequence[int] | None = None) -> None:
        """Compute the missing features of these images, or of all; the next call resumes an interrupted one.

        Raises ConfigError if it would take more disk than the limit or than is free.
        """
        own = (range(len(self.regions)) if images is None else images)[rank() :: world()]
        missing = [i for i in own if not self._file(i).is_file()]
        images_read = prefetch(missing, lambda i: self.regions[i].annotations.read())
        for i, image in trim_memory(zip(progress(missing, "features"), images_read, strict=True)):
            self._compute(i, image)
            if i == missing[0]:
                self._check_disk(self._file(i), len(missing) * world())
        meet()

    def features(self, i: int, indices: Tensor | None = None) -> Tensor:
        """Return the features float32 (n, D) of regions `indices` of image i, or of all, on the network's device."""
        image, boxes = self._restore(i, indices)
        return image.features(boxes)

    def apply_to_features(self, i: int, function: Callable[[Tensor], Tensor], indices: Tensor | None = None) -> Tensor:
        """Apply a row-wise function to the same features, as `features.extractor.apply_to_features` does."""
        return apply_to_features(*self._restore(i, indices), function)

    def size(self, i: int) -> tuple[int, int]:
        """Return (H, W) of image i."""
        return self._load(i)[1]

    def _restore(self, i: int, indices: Tensor | None) -> tuple[ImageFeatures, Tensor]:
        boxes = self.regions[i].boxes
        image = self.extractor.restore(*self._load(i), boxes)
        return image, boxes if indices is None else boxes[indices]

    def _file(self, i: int) -> Path:
        if i not in self._keys:
            boxes = hash_tensors([self.regions[i].boxes]) if self.extractor.per_region else None
            self._keys[i] = self.regions[i].annotations.cache_key(self._key, boxes)
        key = self._keys[i]
        return self.folder / key[:2] / f"{key}.safetensors"

    def _load(self, i: int) -> tuple[dict[str, Tensor], tuple[int, int]]:
        file = self._file(i)
        stored = load_cached(file)
        if stored is None:
            self._compute(i, self.regions[i].annotations.read())
            stored = load_tensors(file, file.stem)[0]
        height, width = stored["size"].tolist()
        return stored, (height, width)

    def _compute(self, i: int, image: Tensor) -> None:
        stored = self.extractor.store(image, self.regions[i].boxes)
        if not all(part.isfinite().all() for part in stored.values()):
            expected = "finite numbers: precision fp32 or bf16 in place of fp16, or other weights"
            raise SppdetError(
                "features are not finite", field=f"image {self.regions[i].annotations.id}", expected=expected
            )
        file = self._file(i)
        save_cached(file, {**stored, "size": torch.tensor(image.shape[1:])}, self._made_by)
        self.computed, self.written = self.computed + 1, self.written + file.stat().st_size

    def _check_disk(self, first: Path, count: int) -> None:
        needed = first.stat().st_size * count / 1e9
        free = shutil.disk_usage(first.parent).free / 1e9
        logger.info("feature cache: about %.1f GB in %s (%.0f GB free)", needed, self.folder, free)
        if needed > min(self.limit_gb, free):
            expected = f"at least {needed:.1f} GB"
            got = f"a limit of {self.limit_gb:g} GB and {free:.1f} GB free in {self.folder}"
            raise ConfigError("the feature cache would not fit", field="cache_gb", expected=expected, got=got)
