"""The image that a name in an annotation file means."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sppdet.data.files import composed, list_images
from sppdet.errors import DataError


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
