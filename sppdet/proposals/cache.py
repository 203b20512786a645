"""The proposals of many images: searched in parallel, cached by content; or read from another program's file.

The cache is keyed by the bytes of the image file (the pixels of an image in memory) and every parameter that shapes
the boxes. `limit` is not one of them: all boxes are stored, and the first `limit` handed out, so another limit needs no
new search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from torch import Tensor

from sppdet.config.data import ProposalConfig
from sppdet.data.proposal_files import read_proposals
from sppdet.errors import ConfigError, WeightsError
from sppdet.files.atomic import cache_folder, load_tensors, save_tensors
from sppdet.images import as_image
from sppdet.proposals.selective_search import ALGORITHM, selective_search
from sppdet.structures import Annotations


def propose(images: Sequence[Annotations], config: ProposalConfig, workers: int = 2) -> list[Tensor]:
    """Boxes float32 (N, 4) of each image, best first, at most config.limit, in pixels of the original image.

    They come from `config.file` where it is set, else from the cache; what is missing there is searched by `workers`
    threads, an image each (0: by this one), and stored at once, so that an interrupted run goes on where it stopped.
    The boxes do not depend on the workers. Raises ImageError, DataError or ConfigError.
    """
    if workers < 0:
        raise ConfigError("out of range", field="workers", expected="at least 0", got=workers)
    if config.file:
        return [boxes[: config.limit] for boxes in read_proposals(Path(config.file), [image.id for image in images])]
    stores = [_store_of(image, config) for image in images]
    found: dict[Path, Tensor] = {}
    missing: dict[Path, Path | Tensor] = {}
    for store, image in zip(stores, images, strict=True):
        try:
            found[store] = _load(store, config.limit)
        except (WeightsError, KeyError):  # not there, or damaged
            missing.setdefault(store, image.image)
    if missing:
        _search_all(missing, config, workers)
        found |= {store: _load(store, config.limit) for store in missing}
    return [found[store] for store in stores]


def count_missing(images: Sequence[Annotations], config: ProposalConfig) -> int:
    """How many of the images `propose` would have to search."""
    return 0 if config.file else sum(not _store_of(image, config).is_file() for image in images)


def propose_image(image: Tensor, config: ProposalConfig) -> Tensor:
    """Boxes float32 (N, 4) of one image uint8 (3, H, W), without the cache: what `propose` gives for its file.

    Raises ConfigError where the boxes are another program's, which are known by an image's id only.
    """
    if config.file:
        message = "proposals of another program need the ids of the images; leave it unset to use selective search"
        raise ConfigError(message, field="proposals.file", got=config.file)
    return selective_search(image, config.mode, config.width, config.min_side, config.limit)


def _store_of(image: Annotations, config: ProposalConfig) -> Path:
    """The cache file of an image's boxes."""
    key = image.cache_key(ALGORITHM, config.mode, config.width, config.min_side)
    return cache_folder() / "proposals" / key[:2] / f"{key}.safetensors"


def _load(store: Path, limit: int | None) -> Tensor:
    """The first `limit` stored boxes, copied so that the file does not stay mapped."""
    return load_tensors(store)[0]["boxes"][:limit].clone()


def _search_all(missing: Mapping[Path, Path | Tensor], config: ProposalConfig, workers: int) -> None:
    """Search the images (store -> image) and store their boxes, with a progress bar on stderr."""
    from tqdm import tqdm

    with tqdm(total=len(missing), desc="proposals", unit="image") as progress:
        if not workers:
            for store, image in missing.items():
                _search_file(image, store, config)
                progress.update()
            return
        with ThreadPoolExecutor(workers) as pool:
            searches = [pool.submit(_search_file, image, store, config) for store, image in missing.items()]
            try:
                for search in as_completed(searches):
                    search.result()
                    progress.update()
            except BaseException:  # an error or Ctrl-C waits for the searches that run, and they are stored too
                pool.shutdown(cancel_futures=True)
                raise


def _search_file(image: Path | Tensor, store: Path, config: ProposalConfig) -> None:
    """Search one image and store all its boxes."""
    boxes = selective_search(as_image(image), config.mode, config.width, config.min_side, limit=None, threads=1)
    save_tensors(store, {"boxes": boxes})
