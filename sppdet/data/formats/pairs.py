"""Image files and the label files that belong to them: side by side, or in folders that correspond."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.data.entries import ORPHAN, Entry
from sppdet.data.files import composed, is_image, list_files, short_names, stem_of
from sppdet.data.formats.source import Source
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, Records
from sppdet.data.splits import check_splits, split_word
from sppdet.images import IMAGE_SUFFIXES
from sppdet.wording import counted

# Names of folders that say what kind of files they hold, not which images.
KINDS = frozenset(
    {
        *("images", "image", "imgs", "img", "jpegimages", "photos", "pics", "data"),
        *("labels", "label", "annotations", "annotation", "xmls", "xml", "boxes"),
    }
)


class Pair(NamedTuple):
    """An image and its label file, None if it has none. key: its path without suffix and folders of KINDS, and unique.
    split: train, val, trainval or test, if a folder says so."""

    key: str
    image: Path
    label: Path | None
    split: str | None


class Pairs(NamedTuple):
    """images: sorted by key. orphans: label files without an image."""

    images: list[Pair]
    orphans: list[Path]

    def splits(self) -> dict[str, set[Path]]:
        """Return the images of each split that folders name."""
        parts: dict[str, set[Path]] = {pair.split: set() for pair in self.images if pair.split}
        for pair in self.images:
            if pair.split:
                parts[pair.split].add(pair.image)
        return parts


class PairSource(Source):
    """Images and their label files. found: problems of the folder, which is looked at once."""

    def __init__(self, root: Path, pairs: Pairs, found: Problems, parts: Mapping[str, set[Path]] | None = None) -> None:
        """parts: the images of each split; by default those of folders named train, val and so on."""
        super().__init__(root)
        self.found, self._pairs, self._orphans = found, pairs.images, pairs.orphans
        self._parts = parts or pairs.splits()
        self.splits = tuple(sorted(self._parts))
        strays = {pair.image for pair in pairs.images}.difference(*self._parts.values())
        if strays and self.splits:
            found.warn("images of no split", f"{counted(len(strays), 'image')} in no split", root)

    def _read_splits(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of their names; None: of all."""
        check_splits(splits, self.splits, self.root)
        problems.found += self.found.found
        chosen = self._images_of(splits)
        return self._read([pair for pair in self._pairs if pair.image in chosen], problems)

    def read_rest(self, splits: Sequence[str] | None) -> Records:
        chosen = self._images_of(splits)
        records = self._read([pair for pair in self._pairs if pair.image not in chosen], Problems(strict=False))
        orphans = [Entry((path, "size"), None, self._count_objects(path), ORPHAN) for path in self._orphans]
        return records._replace(left_out=[*records.left_out, *orphans])

    @abstractmethod
    def _read(self, pairs: Sequence[Pair], problems: Problems) -> Records:
        """Read the images of these pairs."""

    @abstractmethod
    def _count_objects(self, label: Path) -> int:
        """Return the number of objects in a label file, 0 if it cannot be read."""

    def _images_of(self, splits: Sequence[str] | None) -> set[Path]:
        if splits is None:
            return {pair.image for pair in self._pairs}
        return set().union(*(self._parts[split] for split in splits))

    def _read_pairs(
        self, pairs: Sequence[Pair], read: Callable[[str, Pair, Problems], AnnotatedImage | None], problems: Problems
    ) -> Records:
        """Return what `read` makes of name, pair and problems of each image; those with an error are left out."""
        names = short_names(pair.key for pair in pairs)
        images, left_out = [], []
        for pair, image in self._read_each(pairs, lambda pair, own: read(names[pair.key], pair, own), problems):
            if image:
                images.append(image)
            else:
                objects = self._count_objects(pair.label) if pair.label else 0
                left_out.append(Entry((pair.label or pair.image, "size"), pair.image, objects, problems.last_kind))
        return Records(images, left_out=left_out)


def find_pairs(root: Path, suffix: str, problems: Problems) -> Pairs:
    """Find the images below a folder and their label files with this suffix.

    They correspond if their paths differ in folders of KINDS only, or if no other files of their split have this name.
    Images without a label file are taken only from folders in which others have one. Of two images of one name in a
    folder that of the more common kind is taken, and the other is reported.
    """
    files = list_files(root)
    labels = _by_key(root, (path for path in files if path.suffix.lower() == suffix))
    images = _by_key(root, (path for path in files if is_image(path.name)))
    found = {key: labels[key][0] for key in images if key in labels}
    found |= _match_names(
        {key: paths for key, paths in images.items() if key not in found},
        {key: paths for key, paths in labels.items() if key not in found},
    )
    folders = {path.parent for key in found for path in images[key]}
    used = set(found.values())
    pairs = []
    for key, paths in sorted(images.items()):
        if key not in found and paths[0].parent not in folders:
            continue
        paths = sorted(paths, key=lambda path: IMAGE_SUFFIXES.index(path.suffix.lower()))
        if len(paths) > 1:
            problems.warn("images of one name", f"left out, as {paths[0].name} has its name", paths[1])
        pairs.append(pair_of(root, paths[0], found.get(key)))
    return Pairs(pairs, [path for paths in labels.values() for path in paths if path not in used])


def pair_of(root: Path, image: Path, label: Path | None) -> Pair:
    """Return the pair of an image below a folder and its label file."""
    folder = image.parent.relative_to(root).as_posix()
    return Pair(key_of(root, image), image, label, _split_in(folder))


def _by_key(root: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    keyed = defaultdict(list)
    for path in paths:
        keyed[key_of(root, path)].append(path)
    return keyed


def key_of(root: Path, path: Path) -> str:
    """Return the key of a `Pair` for an image or label file below a folder."""
    *folders, name = composed(path.relative_to(root).as_posix()).split("/")
    return "/".join([*(part for part in folders if part.lower() not in KINDS), stem_of(name)])


def _match_names(images: dict[str, list[Path]], labels: dict[str, list[Path]]) -> dict[str, Path]:
    """Return the label file of each key of an image whose name, in its split, only one image and one label have."""
    by_name: dict[tuple[str | None, str], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, keys in enumerate((images, labels)):
        for key in keys:
            folder, _, name = key.rpartition("/")
            by_name[_split_in(folder), name][side].append(key)
    return {ours[0]: labels[theirs[0]][0] for ours, theirs in by_name.values() if len(ours) == len(theirs) == 1}


def _split_in(folder: str) -> str | None:
    """Return the split that the first folder of a path names that names one."""
    return next((word for part in folder.split("/") if (word := split_word(part))), None)
