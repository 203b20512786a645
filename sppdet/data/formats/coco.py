"""Data sets in COCO format: a folder of images and JSON files of annotations."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from sppdet.data.build import build_dataset
from sppdet.data.entries import NO_IMAGE, Entry
from sppdet.data.files import is_hidden
from sppdet.data.formats.coco_file import CocoFile
from sppdet.data.formats.image_index import ImageIndex
from sppdet.data.formats.source import Source
from sppdet.data.problems import Problems
from sppdet.data.records import LISTED_TWICE, AnnotatedImage, Records, listed_twice
from sppdet.data.splits import check_splits, split_word
from sppdet.errors import DataError
from sppdet.structures import Dataset, ImageId


def read_coco(
    images_folder: str | PathLike[str],
    annotation_file: str | PathLike[str],
    classes: Sequence[str] | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Read all images of an annotation file, in its order, and their objects. Image and category ids are kept.

    classes: names of labels 1..K; by default all categories in the order of their ids, without a root category: one
    that has no objects and is the supercategory of others. allow_outside: read images outside of the folder too.
    bbox [x, y, w, h] becomes (x, y, x + w, y + h), clipped to the image; without it, the box around the segmentation is
    taken. `iscrowd` becomes difficult. Unusable boxes are skipped and logged (see `keep_valid_boxes`).
    Raises DataError that names file and field if anything is missing, malformed or of an unknown class.
    """
    problems = Problems()
    source = CocoSource(Path(images_folder), {"": Path(annotation_file)})
    source.allow_outside = allow_outside
    records = source.read(None, problems)
    known = records.classes or ()
    for name in classes or ():
        if name not in known:
            got = ", ".join(known)
            raise DataError("class not in the file", file=annotation_file, field="categories", expected=name, got=got)
    dataset = build_dataset(Path(annotation_file).stem, records, classes or known, source.least_side, problems).dataset
    problems.log()
    return dataset


class CocoSource(Source):
    """Annotation files by the names of their splits, and the images below a folder."""

    format, title, expected = "coco", "COCO format", "JSON with images and annotations"

    def __init__(self, root: Path, files: dict[str, Path]) -> None:
        """Raises DataError if there is no such folder. A single file without the name of a split has the name ""."""
        if not root.is_dir():
            raise DataError("folder not found", file=root)
        super().__init__(root)
        self.files = files
        self.splits = tuple(split for split in files if split)
        self._index: ImageIndex | None = None

    @classmethod
    def find(cls, root: Path, year: str | None, /) -> "CocoSource | None":
        """Return the data set of the annotation files in a folder or up to two folders below; None if there are none.

        Files named instances_* are taken if there are any. year: selects the files with it in their names.
        """
        patterns = ("*.json", "*/*.json", "*/*/*.json")
        files = [path for pattern in patterns for path in sorted(root.glob(pattern)) if _is_visible(root, path)]
        files = [path for path in files if path.name.startswith("instances_")] or files
        files = [path for path in files if year is None or str(year) in path.name] or files
        files = [path for path in files if _is_annotation_file(path)]
        if not files:
            return None
        splits: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            folder = path.parent.name if path.parent != root else ""
            splits[split_word(path.stem) or split_word(folder) or ""].append(path)
        if len(splits) > 1:
            splits.pop("", None)
        for paths in splits.values():
            if len(paths) > 1:
                got = ", ".join(str(path.relative_to(root)) for path in paths)
                reason = "holds several annotation files: give one as data.annotations, or the year"
                raise DataError(reason, file=root, got=got)
        return cls(root, {split: paths[0] for split, paths in splits.items()})

    def _read_splits(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of their files; None: of all."""
        check_splits(splits, self.splits, self.root)
        parts = [(split, CocoFile(self.files[split], problems)) for split in (self.files if splits is None else splits)]
        ids: dict[str, int] = {}
        images: dict[ImageId, AnnotatedImage] = {}
        left_out: list[Entry] = []
        for split, part in parts:
            taken = set(ids.values())
            for number, name in sorted(part.categories.items()):
                if name not in ids:
                    ids[name] = number if number not in taken else max([*ids.values(), *part.categories]) + 1
            for image in self._annotate(part, problems, left_out):
                key = image.id if image.id not in images else f"{split}/{image.id}"  # each file may count from 1
                images[key] = image._replace(id=key)
        return Records(list(images.values()), tuple(ids), ids, left_out)

    def read_rest(self, splits: Sequence[str] | None) -> Records:
        others = [split for split in self.files if splits is not None and split not in splits]
        return self._read_splits(others, Problems(strict=False)) if others else Records([])

    def _annotate(self, file: CocoFile, problems: Problems, left_out: list[Entry]) -> list[AnnotatedImage]:
        """Return the images of a file, with the files that they are found in; add the others to `left_out`."""
        images: list[AnnotatedImage] = []
        names: dict[Path, str] = {}
        times = Counter(Path(entry.name) for entry in file.images.values())
        for number, entry in file.images.items():
            path = None
            with problems.collect("image not found"):
                found = self._find_image(file.path, entry.name)
                if names.setdefault(found, entry.name) != entry.name:
                    message = f"image file not found, unless it is {found}, which {names[found]} is"
                    raise DataError(f"{message}, listed in {file.path}", file=self.root / entry.name)
                path = found
            fault = "" if path else problems.last_kind
            if path and times[Path(entry.name)] > 1:
                fault = LISTED_TWICE
                problems.error(fault, listed_twice(file.path, entry.field.replace(".width", ".file_name"), entry.name))
            count, objects = file.counts[number], tuple(file.objects[number])
            if path and not fault and not file.fault:
                malformed = count - len(objects)
                images.append(AnnotatedImage(number, path, file.path, entry.size, objects, entry.field, malformed))
            else:
                left_out.append(Entry((file.path, entry.field), path, count, file.fault or fault))
        if strays := file.total - file.counts.total():
            left_out.append(Entry((file.path, "annotations"), None, strays, NO_IMAGE))
        return images

    def _find_image(self, file: Path, name: str) -> Path:
        path = self.root / name
        if name and os.path.isfile(path):
            return path
        if self._index is None:
            self._index = ImageIndex(self.root)
        found = self._index.find(name, file)
        if found is None:
            raise DataError(f"image file not found, listed in {file}", file=path)
        return found


def _is_visible(root: Path, path: Path) -> bool:
    return os.path.isfile(path) and not any(is_hidden(part) for part in path.relative_to(root).parts)


def _is_annotation_file(path: Path) -> bool:
    """Return True for JSON with a list of images, without reading it as JSON, which takes long."""
    data = path.read_bytes()
    text = data.decode("utf-16", "ignore").encode() if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data
    return b'"images"' in text and b'"annotations"' in text
