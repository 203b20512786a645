"""Images and videos that a command is given: files, folders, patterns, webcams and streams."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sppdet.errors import DataError, ImageError
from sppdet.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


def image_files(
    paths: Sequence[str], recursive: bool = False, wanted: Callable[[str], bool] | None = None
) -> list[Path]:
    """Return the files, and the images in the folders.

    Without `recursive` those in subfolders are left out, which a warning counts. wanted: names of the files that are
    taken from folders, by default images. Raises DataError for a folder without any.
    """
    from sppdet.data.files import is_image, list_files
    from sppdet.images import IMAGE_SUFFIXES

    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            every = [file for file in list_files(path) if (wanted or is_image)(file.name)]
            taken = [file for file in every if recursive or file.parent == path]
            deeper = counted(len(every) - len(taken), "file") + " in subfolders"
            if not taken:
                raise DataError("no images in the folder", file=path, expected=", ".join(IMAGE_SUFFIXES), got=deeper)
            if len(every) > len(taken):
                logger.warning("%s: %s left out; --recursive takes them as well", path, deeper)
            files += taken
        else:
            files.append(path)
    return files


def find_sources(paths: Sequence[str], recursive: bool = False) -> tuple[list[Path], list[str]]:
    """Return image files, and videos: files, numbers of webcams and addresses of streams; each once.

    paths: such names, folders, and patterns such as photos/**/*.jpg. Raises DataError for a folder or pattern that
    leads to none.
    """
    from sppdet.videos import is_live, is_video

    live = [path for path in dict.fromkeys(paths) if is_live(path)]
    named = [name for path in paths if path not in live for name in _matches(path)]
    files = dict[str, Path]()
    for file in image_files(named, recursive, _is_source):
        files.setdefault(os.path.abspath(file), file)
    videos = [str(file) for file in files.values() if is_video(file)]
    return [file for file in files.values() if not is_video(file)], videos + live


def picture_names(images: Sequence[Path], videos: Sequence[str] = ()) -> list[str]:
    """Return stem.jpg for each image and stem.mp4 for each video, numbered if that name is taken."""
    from sppdet.data.files import file_names
    from sppdet.videos import is_live

    stems = [file.stem for file in images]
    for video in videos:
        stem = Path(urlsplit(video).path if is_live(video) else video).stem
        stems.append(f"webcam-{video}" if is_live(video) and video.isdecimal() else stem)
    suffixes = [".jpg"] * len(images) + [".mp4"] * len(videos)
    return [f"{name}{suffix}" for name, suffix in zip(file_names(stems), suffixes, strict=True)]


def read_images(files: Sequence[Path], errors: list[ImageError], title: str) -> Iterator[tuple[int, Tensor]]:
    """Yield the index and the pixels of each file that can be read; the errors of the others are added to `errors`."""
    from sppdet.images import read_image
    from sppdet.runtime.memory import trim_memory
    from sppdet.runtime.progress import progress

    for i, file in enumerate(trim_memory(progress(files, title))):
        try:
            image = read_image(file)
        except ImageError as error:
            errors.append(error)
        else:
            yield i, image


def _is_source(name: str) -> bool:
    from sppdet.data.files import is_image
    from sppdet.videos import is_video

    return is_image(name) or is_video(name)


def _matches(path: str) -> list[str]:
    """Return the visible images and videos that a pattern names, sorted; any other path as it is."""
    from sppdet.data.files import is_hidden

    parts = Path(path).parts
    first = next((i for i, part in enumerate(parts) if glob.escape(part) != part), None)
    if first is None or os.path.lexists(path):
        return [path]
    root, pattern = Path(*parts[:first]), "/".join(parts[first:])
    try:
        found = sorted(root.glob(f"{pattern}/*" if parts[-1] == "**" else pattern))
    except ValueError as error:
        raise DataError(f"is no pattern: {error}", file=path, expected="such as photos/**/*.jpg") from error
    names = [file for file in found if _is_source(file.name) and file.is_file()]
    names = [file for file in names if not any(map(is_hidden, file.relative_to(root).parts))]
    if not names:
        raise DataError("no image or video of this name", file=path, expected="a file, or a pattern in quotes")
    return [str(file) for file in names]
