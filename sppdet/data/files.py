"""Files below a folder, and their names."""

import os
from collections import Counter
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from unicodedata import normalize

from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Return True for the names of files and folders that programs make for themselves (.ipynb_checkpoints)."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    """Return True for a visible file with a suffix of IMAGE_SUFFIXES, in either case."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_files(root: str | PathLike[str]) -> list[Path]:
    """Return visible files at any depth; files of a folder come before those of its subfolders.

    Links are followed, except to a folder that they lie in, also by way of other links.
    """
    tree = []
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name) and not _leads_up(parent, name))
        tree.append((parent, sorted(name for name in names if not is_hidden(name))))
    return [Path(parent, name) for parent, names in sorted(tree) for name in names]


def _leads_up(parent: str, name: str) -> bool:
    path = Path(parent, name)
    return path.is_symlink() and any(folder.resolve().is_relative_to(path.resolve()) for folder in path.parents)


def list_images(root: str | PathLike[str]) -> list[Path]:
    """Return the visible image files at any depth, in the order of `list_files`."""
    return [path for path in list_files(root) if is_image(path.name)]


def list_folders(root: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also of "."; a link has its own."""
    return Path(os.path.abspath(folder)).name


def composed(name: str) -> str:
    """Return the name with composed accents (NFC) and forward slashes; file systems and programs differ in both."""
    return normalize("NFC", name).replace("\\", "/")


def stem_of(name: str) -> str:
    """Return a composed name without its suffix, if that is of an image or of an annotation file."""
    stem, suffix = os.path.splitext(composed(name))
    return stem if suffix.lower() in (*IMAGE_SUFFIXES, ".xml", ".txt") else composed(name)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key if no other key has it, else the key."""
    keys = set(keys)
    counts = Counter(key.rsplit("/", 1)[-1] for key in keys)
    return {key: last if counts[last := key.rsplit("/", 1)[-1]] == 1 else key for key in keys}


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, or in UTF-16 with a byte order mark. Raises DataError that names the file."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not text in UTF-8: {error.reason}", file=path, expected="UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
