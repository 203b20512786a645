"""Images that cannot be read, all found before the work on them begins."""

import logging
from collections.abc import Sequence
from pathlib import Path

from sppdet.data.formats.image_folder import ImageFolder
from sppdet.errors import DataError, ImageError
from sppdet.images import check_image
from sppdet.runtime.prefetch import prefetch
from sppdet.runtime.progress import progress
from sppdet.structures import Dataset
from sppdet.wording import counted

logger = logging.getLogger(__name__)

NAMED = 10  # unreadable images that are named; the others are counted
OPTION = "--data.skip_unreadable true"


def keep_readable(datasets: Sequence[Dataset], skip: bool, workers: int) -> list[Dataset]:
    """Return the data sets, after a check that their image files can be decoded, each file once.

    skip: leave unreadable images out, with a warning that counts them; otherwise they raise ImageError, which names the
    first NAMED. Raises DataError if none of a data set's images remains.
    """
    files = list(dict.fromkeys(image.path for dataset in datasets for image in dataset.images if image.path))
    failures = check_readable(files, skip, workers)
    kept = []
    for dataset in datasets:
        part = [i for i, image in enumerate(dataset.images) if image.path not in failures]
        if len(dataset) and not part:
            raise DataError("none of the images can be read", field=dataset.name, got=_names(failures))
        kept.append(dataset.subset(part))
    return kept


def keep_readable_files(
    folders: Sequence[ImageFolder], skip: bool, workers: int, option: str = OPTION
) -> list[ImageFolder]:
    """Return the folders of images to classify, checked as by `keep_readable`.

    Raises DataError if none of the images of a class remains.
    """
    files = list(dict.fromkeys(file for each in folders for file in each.files))
    failures = check_readable(files, skip, workers, option)
    kept = []
    for each in folders:
        part = [i for i, file in enumerate(each.files) if file not in failures]
        for label in sorted(set(each.labels.tolist()) - set(each.labels[part].tolist())):
            raise DataError("none of its images can be read", field=f"class {each.classes[label]}")
        kept.append(ImageFolder(each.classes, tuple(each.files[i] for i in part), each.labels[part]))
    return kept


def check_readable(files: Sequence[Path], skip: bool, workers: int, option: str = OPTION) -> dict[Path, ImageError]:
    """Return the errors of the image files to leave out, after a warning that counts them.

    option: of the command, which skips them. Unless `skip`, raises ImageError, which counts the files that cannot be
    decoded and names the first NAMED.
    """
    failures = find_unreadable(files, workers)
    if failures and not skip:
        message = f"{len(failures)} of {counted(len(files), 'image')} cannot be read"
        expected = f"readable ones; {option} leaves the others out"
        raise ImageError(message, expected=expected, got=_names(failures))
    if failures:
        logger.warning("%d of %s left out: %s", len(failures), counted(len(files), "image"), _names(failures))
    return failures


def find_unreadable(files: Sequence[Path], workers: int) -> dict[Path, ImageError]:
    """Decode image files with `workers` threads (0: in this one), and return the errors of those that cannot be."""
    results = prefetch(files, _failure, workers, 8 * workers) if workers else map(_failure, files)
    pairs = progress(zip(files, results, strict=True), "check", len(files))
    return {file: error for file, error in pairs if error}


def _failure(file: Path) -> ImageError | None:
    try:
        check_image(file)
    except ImageError as error:
        return error
    return None


def _names(failures: dict[Path, ImageError]) -> str:
    more = f"; {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    return "; ".join(map(str, list(failures.values())[:NAMED])) + more
