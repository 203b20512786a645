"""Files below a folder, and their names."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES
from sppdet.runtime.limits import read_whole

MOST_LINKS = 10_000  # folders that links lead to

LONGEST_NAME = 200  # bytes; file systems take 255, of which suffixes and temporary names need some
NOT_IN_NAMES = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})  # categories: control, half and unassigned characters, breaks


def is_hidden(name: str) -> bool:
    """Return True for the names of files and folders that programs make for themselves (.ipynb_checkpoints)."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    """Return True for a visible file with a suffix of IMAGE_SUFFIXES, in either case."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_files(root: str | PathLike[str]) -> list[Path]:
    """Return visible files at any depth; files of a folder come before those of its subfolders. Pipes are left out.

    Links are followed, except to a folder that they lie in, also by way of other links. Raises DataError if so many
    folders lie behind links that these must lead to each other.
    """
    tree, linked, real = [], 0, os.path.realpath(root)
    folders = [(str(root), real, _with_parents(real))]
    while folders:
        parent, real, above = folders.pop()
        names = []
        for entry in _entries(parent):
            is_link = entry.is_symlink()  # only about links the disk is asked again; is_dir() fails for one to itself
            if os.path.isdir(entry.path) if is_link else entry.is_dir():
                inner = os.path.realpath(os.path.join(real, entry.name))
                if inner not in above:
                    folders.append((entry.path, inner, above | _with_parents(inner)))
                linked += is_link
            elif os.path.isfile(entry.path) if is_link else entry.is_file():
                names.append(entry.name)
        if linked > MOST_LINKS:
            raise DataError("links that lead to each other", file=root, expected=f"up to {MOST_LINKS} linked folders")
        tree.append((parent, sorted(names)))
    return [Path(parent, name) for parent, names in sorted(tree) for name in names]


def _with_parents(folder: str) -> frozenset[str]:
    return frozenset(map(str, (folder, *Path(folder).parents)))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is visible in a folder; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError:
        return []


def list_images(root: str | PathLike[str]) -> list[Path]:
    """Return the visible image files at any depth, in the order of `list_files`."""
    return [path for path in list_files(root) if is_image(path.name)]


def list_folders(root: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def leading_outside(root: str | PathLike[str], paths: Iterable[Path]) -> set[Path]:
    """Return the files that do not lie below a folder, by their names or by way of links."""
    top, folders, found = os.path.realpath(root), dict[Path, str](), set[Path]()
    for path in paths:
        folder = folders.get(path.parent) or folders.setdefault(path.parent, os.path.realpath(path.parent))
        place = os.path.realpath(path) if path.is_symlink() else folder
        if not Path(place).is_relative_to(top):
            found.add(path)
    return found


def outside_error(file: Path) -> DataError:
    """Return the error of a file that lies outside of the data."""
    reason = "lies outside of the folder of the data, by its name or by a link"
    option = "--data.allow_outside true (classify evaluate, convert-data: --allow_outside)"
    return DataError(reason, file=file, expected=f"a file in that folder; {option} reads it all the same")


def folder_name(folder: Path) -> str:
    """Return the name of a folder, also of "."; a link has its own."""
    return Path(os.path.abspath(folder)).name


def composed(name: str) -> str:
    """Return the name with composed accents (NFC) and forward slashes; file systems and programs differ in both."""
    return unicodedata.normalize("NFC", name).replace("\\", "/")


def stem_of(name: str) -> str:
    """Return a composed name without its suffix, if that is of an image or of an annotation file."""
    stem, suffix = os.path.splitext(composed(name))
    return stem if suffix.lower() in (*IMAGE_SUFFIXES, ".xml", ".txt") else composed(name)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key if no other key has it, else the key."""
    keys = set(keys)
    counts = Counter(key.rsplit("/", 1)[-1] for key in keys)
    return {key: last if counts[last := key.rsplit("/", 1)[-1]] == 1 else key for key in keys}


def file_names(keys: Sequence[str]) -> list[str]:
    """Return a name for a new file of each key, without a suffix: one that any system takes, and a line in a list.

    They differ in more than case. Blanks at the ends, control characters and slashes are left out or replaced, and the
    ends of long names.
    """
    names: dict[str, str] = {}
    for key in keys:
        clean = _clean(key)
        numbered = (clean if n == 1 else f"{clean}-{n}" for n in range(1, len(keys) + 1))
        name = next(name for name in numbered if name.casefold() not in names)
        names[name.casefold()] = name
    return list(names.values())


def _clean(key: str) -> str:
    name = "_".join(part for part in composed(key).split("/") if part.strip("."))
    name = "".join("_" if unicodedata.category(char) in NOT_IN_NAMES else char for char in name)
    return name.encode()[:LONGEST_NAME].decode(errors="ignore").strip().lstrip(".") or "image"


def fits_file_name(name: str) -> bool:
    """Return True if a name can be part of a file's as it is: printable, not too long and without slashes."""
    printable = not any(unicodedata.category(char) in NOT_IN_NAMES for char in name)
    return printable and not {"/", "\\"} & {*name} and len(name.encode()) <= LONGEST_NAME


def read_data(path: Path) -> bytes:
    """Return the bytes of a file of the data. Raises DataError if it is none, or too large, and OSError."""
    if os.path.exists(path) and not os.path.isfile(path):  # such as a pipe, which would be waited for
        raise DataError("is no file", file=path)
    return read_whole(path)


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, or in UTF-16 with a byte order mark. Raises DataError that names the file."""
    try:
        data = read_data(path)
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not text in UTF-8: {error.reason}", file=path, expected="UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
