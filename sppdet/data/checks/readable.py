"""Images that cannot be read, all found before the work on them begins."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from sppdet.errors import DataError, ImageError
from sppdet.images import check_image
from sppdet.runtime.prefetch import prefetch
from sppdet.structures import Dataset
from sppdet.wording import counted

logger = logging.getLogger(__name__)

NAMED = 10  # unreadable images that are named; the others are counted


def keep_readable(datasets: Sequence[Dataset], skip: bool, workers: int) -> list[Dataset]:
    """Return the data sets, after a check that their image files can be decoded, each file once.

    skip: leave unreadable images out, with a warning that counts them; otherwise they raise ImageError, which names the
    first NAMED. Raises DataError if none of a data set's images remains.
    """
    files = list(dict.fromkeys(image.path for dataset in datasets for image in dataset.images if image.path))
    failures = find_unreadable(files, workers)
    if not failures:
        return list(datasets)
    if not skip:
        raise unreadable(failures, len(files), "readable ones; --data.skip_unreadable true leaves the others out")
    logger.warning("%d of %s left out: %s", len(failures), counted(len(files), "image"), _names(failures))
    kept = []
    for dataset in datasets:
        part = [i for i, image in enumerate(dataset.images) if image.path not in failures]
        if len(dataset) and not part:
            raise DataError("none of the images can be read", field=dataset.name, got=_names(failures))
        kept.append(dataset.subset(part))
    return kept


def find_unreadable(files: Sequence[Path], workers: int) -> dict[Path, ImageError]:
    """Decode image files with `workers` threads (0: in this one), and return the errors of those that cannot be."""
    results = prefetch(files, _failure, workers, 8 * workers) if workers else map(_failure, files)
    bar = tqdm(zip(files, results, strict=True), desc="check", unit="image", total=len(files), disable=not files)
    return {file: error for file, error in bar if error}


def unreadable(failures: dict[Path, ImageError], count: int, expected: str) -> ImageError:
    """Return one error for all images of `count` that cannot be read."""
    message = f"{len(failures)} of {counted(count, 'image')} cannot be read"
    return ImageError(message, expected=expected, got=_names(failures))


def _failure(file: Path) -> ImageError | None:
    try:
        check_image(file)
    except ImageError as error:
        return error
    return None


def _names(failures: dict[Path, ImageError]) -> str:
    more = f"; {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    return "; ".join(map(str, list(failures.values())[:NAMED])) + more
