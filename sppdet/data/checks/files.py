"""Image files that are the same by content, cannot be decoded, or are not annotated."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sppdet.data.build import CheckedImage
from sppdet.data.checks.readable import find_unreadable
from sppdet.data.entries import Entry
from sppdet.data.files import is_hidden, is_image
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage
from sppdet.data.splits import NAMED, STANDARD
from sppdet.files.atomic import content_key
from sppdet.runtime.prefetch import prefetch

THREADS = 4  # they wait for the disk, and hash or decode without Python's lock
OTHER_TEXTS = frozenset({*STANDARD, *NAMED, "classes", "readme", "license", "notes"})


def check_copies(parts: Mapping[str, Sequence[CheckedImage]], problems: Problems) -> None:
    """Report images whose files are the same, in two parts of the data or under two ids."""
    paths = list(dict.fromkeys(image.source.path for images in parts.values() for image in images))
    keys = dict(zip(paths, list(prefetch(paths, _key, THREADS, ahead=100)), strict=True))
    seen: dict[str, tuple[str, CheckedImage]] = {}
    for name, images in parts.items():
        for image in images:
            key = keys[image.source.path]
            if key is None:
                continue
            other, first = seen.setdefault(key, (name, image))
            if first is image:
                continue
            kind = "image in two splits" if other != name else "image twice"
            message = f"is the same image as {first.source.path} (id {first.source.id}, {other})"
            message += "" if _content(first) == _content(image) else ", annotated differently: keep the right one"
            problems.warn(kind, message, image.source.path, f"id {image.source.id}, {name}")


def check_decoding(paths: Iterable[Path], problems: Problems) -> None:
    """Report images that cannot be decoded, as errors."""
    for error in find_unreadable(list(paths), THREADS).values():
        problems.error("unreadable image", error)


def check_strays(
    images: Sequence[AnnotatedImage], left_out: Iterable[Entry], label_suffix: str | None, problems: Problems
) -> None:
    """Report images and label files next to those of the data that belong to none of them and have no other problem.

    left_out: images with errors. label_suffix: that of label files, None if the format has none.
    """
    refused = {entry.image for entry in left_out}
    used = {image.path for image in images}
    labels = {image.file for image in images} - used
    reported = {Path(problem.file).stem for problem in problems.found if problem.file}
    others = [path for path in _neighbors(used) if is_image(path.name)]
    for path in others:
        if path.stem not in reported and path not in refused:
            problems.warn("image not used", "is in no list, or not annotated", path)
    stems = {path.stem for path in (*used, *others)} | reported
    for path in _neighbors(labels):
        named = path.stem.lower() in OTHER_TEXTS or is_hidden(path.name)
        if path.suffix.lower() == label_suffix and path.stem not in stems and not named:
            problems.warn("annotation without an image", "no image file for this annotation", path)


def _neighbors(files: set[Path]) -> list[Path]:
    """Return the other files in the folders of these."""
    folders = sorted(folder for folder in {path.parent for path in files} if folder.is_dir())
    return [path for folder in folders for path in sorted(folder.iterdir()) if path not in files and path.is_file()]


def _key(path: Path) -> str | None:
    try:
        return content_key(path)
    except OSError:
        return None


def _content(image: CheckedImage) -> set[tuple[str, tuple[float, ...]]]:
    return {(thing.name, thing.box) for thing in image.objects}
