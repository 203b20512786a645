"""Proposals of many images: searched in parallel and cached by content, or read from another program's file.

The cache key covers the bytes of the image file (the pixels of an image in memory) and every parameter that affects the
boxes. `limit` does not: all boxes are stored and the first `limit` returned, so another limit needs no new search.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from sppdet.config.data import MAX_PIXELS, ProposalConfig
from sppdet.errors import ConfigError
from sppdet.files.atomic import load_cached, load_tensors, save_cached
from sppdet.files.durable import cache_folder
from sppdet.images import as_image
from sppdet.proposals.files import read_proposals
from sppdet.proposals.selective_search import ALGORITHM, search_nodes
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.progress import progress
from sppdet.runtime.ranks import meet, rank, world
from sppdet.structures import Annotations


def propose(images: Sequence[Annotations], config: ProposalConfig, workers: int = 2) -> Sequence[Tensor]:
    """Return boxes float32 (N, 4) of each image, best first, at most config.limit, in pixels of the original image.

    The boxes come from `config.file` if it is set, else from the cache, where each image's are read when they are asked
    for: they do not stay in memory. Images missing in the cache are searched by
    `workers` threads, one image each (0: in this thread), and stored at once, so that an interrupted run can be
    resumed. The boxes do not depend on the workers. Raises ImageError, DataError or ConfigError.
    """
    if workers < 0:
        raise ConfigError("out of range", field="workers", expected="at least 0", got=workers)
    if config.file:
        return [boxes[: config.limit] for boxes in read_proposals(Path(config.file), [image.id for image in images])]
    if world() > 1:
        _find(images[rank() :: world()], config, workers)
        meet()
    return _find(images, config, workers)


class _Cached(Sequence[Tensor]):
    """The boxes of images in the cache, read one by one; an image whose file is lost is searched again."""

    def __init__(self, images: Sequence[Annotations], config: ProposalConfig) -> None:
        self._images, self._config = images, config
        self._keys = [_cache_key(image, config) for image in images]
        self.searched = 0  # images that were missing

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, i: Any) -> Any:
        file = _cache_file(self._keys[i])
        stored = load_cached(file)
        if stored is None:
            _search_image((file, self._images[i].image), self._config)
            stored = load_tensors(file, file.stem)[0]
        return stored["boxes"][: self._config.limit].clone()  # the file does not stay mapped

    def missing(self) -> dict[Path, Path | Tensor]:
        """Return the image of each file that is missing or damaged."""
        found: dict[Path, Path | Tensor] = {}
        for key, image in zip(self._keys, self._images, strict=True):
            if load_cached(file := _cache_file(key)) is None:
                found.setdefault(file, image.image)
        return found


def _find(images: Sequence[Annotations], config: ProposalConfig, workers: int) -> Sequence[Tensor]:
    """Return the boxes from the cache, after a search of the images that it lacks."""
    boxes = _Cached(images, config)
    missing = boxes.missing()
    boxes.searched = len(missing)
    search = partial(_search_image, config=config)
    # After an error or Ctrl-C, running searches are finished and stored.
    done = prefetch(missing.items(), search, workers, 8 * workers) if workers else map(search, missing.items())
    for _ in progress(done, "proposals", len(missing)):
        pass
    return boxes


def count_missing(images: Sequence[Annotations], config: ProposalConfig) -> int:
    """Return the number of images that `propose` would have to search."""
    return 0 if config.file else sum(not _cache_file(_cache_key(image, config)).is_file() for image in images)


def propose_image(image: Tensor, config: ProposalConfig) -> Tensor:
    """Return boxes float32 (N, 4) of one image uint8 (3, H, W), the same as `propose` returns, without the cache.

    Raises ConfigError if the proposals are another program's, which are looked up by the id of an image.
    """
    if config.file:
        message = "proposals of another program need the ids of the images; leave it unset to use selective search"
        raise ConfigError(message, field="proposals.file", got=config.file)
    return search_nodes(image, config)[0]


def _cache_key(image: Annotations, config: ProposalConfig) -> str:
    parts = () if config.max_pixels == MAX_PIXELS else (config.max_pixels,)
    return image.cache_key(ALGORITHM, config.mode, config.width, config.min_side, *parts)


def _cache_file(key: str) -> Path:
    return cache_folder() / "proposals" / key[:2] / f"{key}.safetensors"


def _search_image(place: tuple[Path, Path | Tensor], config: ProposalConfig) -> None:
    """Search one image and store all its boxes; place: the cache file and the image."""
    file, image = place
    boxes = search_nodes(as_image(image), replace(config, limit=None), threads=1)[0]
    save_cached(file, {"boxes": boxes}, f"{config.mode}, width {config.width}, min_side {config.min_side}")
