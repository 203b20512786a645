"""Files below a folder, and the image that a name in an annotation file means."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Return True for the names of files and folders that programs make for themselves (.ipynb_checkpoints)."""
    return name.startswith(".") or name == "__MACOSX"


def is_image(name: str) -> bool:
    """Return True for a visible file with a suffix of IMAGE_SUFFIXES, in either case."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def list_files(root: str | PathLike[str]) -> list[Path]:
    """Return visible files at any depth, following links; files of a folder come before those of its subfolders."""
    tree = []
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        tree.append((parent, sorted(name for name in names if not is_hidden(name))))
    return [Path(parent, name) for parent, names in sorted(tree) for name in names]


def list_images(root: str | PathLike[str]) -> list[Path]:
    """Return the visible image files at any depth, in the order of `list_files`."""
    return [path for path in list_files(root) if is_image(path.name)]


def list_folders(root: Path) -> list[Path]:
    """Return the visible folders in a folder, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def composed(name: str) -> str:
    """Return the name with composed accents (NFC) and forward slashes; file systems and programs differ in both."""
    return normalize("NFC", name).replace("\\", "/")


def stem_of(name: str) -> str:
    """Return a composed name without its suffix, if that is of an image or of an annotation file."""
    stem, suffix = os.path.splitext(composed(name))
    return stem if suffix.lower() in (*IMAGE_SUFFIXES, ".xml", ".txt") else composed(name)


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, or in UTF-16 with a byte order mark. Raises DataError that names the file."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not text in UTF-8: {error.reason}", file=path, expected="UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error


class ImageIndex:
    """The image files below a folder, found by the names that annotation files give them."""

    def __init__(self, root: Path, files: Iterable[Path] | None = None) -> None:
        self.root = root
        self._by_name: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for path in list_images(root) if files is None else files:
            relative = composed(path.relative_to(root).as_posix())
            self._by_name[relative.rsplit("/", 1)[-1]].append((relative, path))

    def find(self, name: str, owner: Path | None = None) -> Path | None:
        """Return the image of a name: a path, absolute on any system or relative to any folder, or a URL, with escapes.

        Of several images the one that shares the most folders with the name is taken, then one that belongs to the
        annotation file `owner`: below its folder, or in a folder with which its name ends (x_val2017.json).
        Raises DataError if more than one remains.
        """
        for candidate in dict.fromkeys((composed(name), composed(unquote(urlsplit(name).path)))):
            parts = [part for part in candidate.split("/") if part not in ("", ".", "..")]
            found = self._by_name.get(parts[-1], []) if parts else []
            if found:
                return self._choose(name, parts, found, owner)
        return None

    def _choose(self, name: str, parts: list[str], found: list[tuple[str, Path]], owner: Path | None) -> Path:
        shared = [_common_end(parts, relative.split("/")) for relative, _ in found]
        paths = [path for (_, path), count in zip(found, shared, strict=True) if count == max(shared)]
        if owner is not None and len(paths) > 1:
            paths = [path for path in paths if self._belongs(path, owner)] or paths
        if len(paths) > 1:
            got = ", ".join(str(path.relative_to(self.root)) for path in paths[:3])
            raise DataError("several images have this name", file=self.root, field=name, got=got)
        return paths[0]

    def _belongs(self, path: Path, owner: Path) -> bool:
        below = owner.parent != self.root and path.is_relative_to(owner.parent)
        folders = path.relative_to(self.root).parts[:-1]
        return below or any(re.search(rf"(^|[^a-z]){re.escape(folder)}$", owner.stem) for folder in folders)


def _common_end(one: list[str], other: list[str]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count


_SPLIT_WORD = re.compile(r"(?:^|(?<=[^a-z]))(trainval|train|training|val|valid|validation|test|testing)(?=$|[^a-z])")
_SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def split_word(name: str) -> str | None:
    """Return train, val, trainval or test if a name, such as "instances_val2017", says one of them, else None."""
    words = {_SYNONYMS.get(word, word) for word in _SPLIT_WORD.findall(name.lower())}
    return words.pop() if len(words) == 1 else None
