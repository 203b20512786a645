"""ImageFeatures training images kept on disk, so that every pass after the first is only pooling.

SPPnet keeps conv5 maps in half precision (1-3 MB an image and scale) and pools them again at each pass; R-CNN has to
keep the features of every region.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sppdet.errors import ConfigError, SppdetError
from sppdet.features.crop import CropExtractor
from sppdet.features.extractor import PART_BYTES, ImageFeatures, apply
from sppdet.features.spp import SPPExtractor
from sppdet.files.atomic import cache_folder, hash_tensors, load_tensors, save_tensors
from sppdet.runtime.memory import trim_memory
from sppdet.training.sampling import LabeledProposals

logger = logging.getLogger(__name__)


class FeatureCache:
    """Features of the regions of annotated images, computed once.

    Keys hold the image's bytes, the network's name and weights, every parameter that shapes the result, and for crops
    the regions themselves. A damaged file is computed again.
    """

    def __init__(
        self,
        source: SPPExtractor | CropExtractor,
        regions: Sequence[LabeledProposals],
        limit_gb: float,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where the files are to be; by default with the other caches, where later trainings find them."""
        self.source, self.regions, self.limit_gb = source, regions, limit_gb
        self.folder = folder or cache_folder() / "features"
        shape: object = source.config.scales if isinstance(source, SPPExtractor) else asdict(source.config)
        pyramid = (source.pyramid.levels, source.pyramid.mode) if isinstance(source, CropExtractor) else None
        machine = (source.backbone.device.type, source.precision)
        network = (source.backbone.name, hash_tensors(source.backbone.state_dict().values()))
        self._parts: tuple[object, ...] = (network, self._kind, shape, pyramid, machine)
        if isinstance(source, CropExtractor) and source.layers is not None:  # maps come before the layers
            self._parts += (hash_tensors(source.layers.state_dict().values()),)
        self._files: dict[int, Path] = {}

    @property
    def dimension(self) -> int:
        return self.source.dimension

    @property
    def device(self) -> torch.device:
        return self.source.backbone.device

    def fill(self, images: Sequence[int] | None = None) -> None:
        """Compute what is missing of these images, or of all, with a progress bar. What is done stays done when this is
        interrupted.

        Raises ConfigError where it would take more disk than the limit or than there is.
        """
        missing = [i for i in (range(len(self.regions)) if images is None else images) if not self._file(i).is_file()]
        bar = tqdm(
            missing,
            desc="features of crops" if self._kind == "crop" else "feature maps",
            unit="image",
            disable=not missing,
        )
        with ThreadPoolExecutor(1) as reader:  # the next image is read while the network is busy with this one
            reading = [reader.submit(self._read, i) for i in missing[:1]]
            for done, i in enumerate(trim_memory(bar)):
                image = reading.pop().result()
                reading = [reader.submit(self._read, j) for j in missing[done + 1 : done + 2]]
                self._compute(i, image)
                if done == 0:
                    self._check_disk(self._file(i), len(missing))

    def features(self, i: int, indices: Tensor | None = None) -> Tensor:
        """Features float32 (n, D) of regions `indices` of image i, or of all its regions; on the network's device."""
        encoded, boxes = self._restore(i, indices)
        return encoded.features(boxes)

    def apply(self, i: int, function: Callable[[Tensor], Tensor], indices: Tensor | None = None) -> Tensor:
        """`function` of the same features, as `features.apply` does it."""
        return apply(*self._restore(i, indices), function)

    def size(self, i: int) -> tuple[int, int]:
        """(H, W) of image i."""
        height, width = self._load(i)["size"].tolist()
        return height, width

    def _restore(self, i: int, indices: Tensor | None) -> tuple[ImageFeatures, Tensor]:
        """Image i made ready, and the boxes of its regions at `indices`."""
        stored, boxes = self._load(i), self.regions[i].boxes
        indices = torch.arange(len(boxes)) if indices is None else indices
        if isinstance(self.source, CropExtractor):
            return CachedFeatures(stored["features"], indices, self.device), boxes[indices]
        maps = [stored[f"map{k}"] for k in range(len(self.source.config.scales))]
        return self.source.restore(maps, self.size(i)), boxes[indices]

    @property
    def _kind(self) -> str:
        return "crop" if isinstance(self.source, CropExtractor) else "spp"

    def _file(self, i: int) -> Path:
        if i not in self._files:
            self._files[i] = self._name_file(i)
        return self._files[i]

    def _name_file(self, i: int) -> Path:
        regions = self.regions[i].boxes.tolist() if isinstance(self.source, CropExtractor) else None
        key = self.regions[i].annotations.cache_key(self._parts, regions)
        return self.folder / key[:2] / f"{key}.safetensors"

    def _load(self, i: int) -> dict[str, Tensor]:
        try:
            return load_tensors(self._file(i))[0]
        except SppdetError:
            self._compute(i, self._read(i))
            return load_tensors(self._file(i))[0]

    def _read(self, i: int) -> Tensor:
        return self.regions[i].annotations.read()

    def _compute(self, i: int, image: Tensor) -> None:
        if isinstance(self.source, CropExtractor):
            tensors = {"features": self.source.encode(image).features(self.regions[i].boxes).half()}
        else:
            tensors = {f"map{k}": maps for k, maps in enumerate(self.source.compute_maps(image))}
        tensors["size"] = torch.tensor(image.shape[1:])
        save_tensors(self._file(i), tensors)

    def _check_disk(self, first: Path, count: int) -> None:
        needed = first.stat().st_size * count / 1e9
        free = shutil.disk_usage(first.parent).free / 1e9
        logger.info("feature cache: about %.1f GB in %s (%.0f GB free)", needed, self.folder, free)
        if needed > min(self.limit_gb, free):
            raise ConfigError(
                "the feature cache would not fit",
                field="cache_gb",
                expected=f"at least {needed:.1f} GB",
                got=f"a limit of {self.limit_gb:g} GB and {free:.1f} GB free in {self.folder}",
            )


@dataclass(frozen=True, eq=False)
class CachedFeatures:
    """Features float16 (R, D) of regions computed before, `indices` (N,) of which are asked for in place of boxes."""

    rows: Tensor
    indices: Tensor
    device: torch.device

    def features(self, boxes: Tensor) -> Tensor:
        return torch.cat(list(self.parts(boxes))) if len(boxes) else self.rows[:0].float().to(self.device)

    def parts(self, boxes: Tensor) -> Iterator[Tensor]:
        for part in self.indices[: len(boxes)].split(max(1, PART_BYTES // (4 * self.rows.shape[1]))):
            yield self.rows[part].to(self.device).float()

    def distinct(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        every = torch.arange(len(boxes))
        return every, every
