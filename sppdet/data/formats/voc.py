"""Data sets in PASCAL VOC layout: JPEGImages, Annotations and ImageSets/Main in one folder."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from sppdet.data.build import build_dataset
from sppdet.data.entries import ORPHAN, Entry
from sppdet.data.files import composed, folder_name, is_hidden, list_files, read_text, stem_of
from sppdet.data.formats.source import Source
from sppdet.data.formats.xml import LEAST_SIDE, annotate, count_objects
from sppdet.data.problems import Problems
from sppdet.data.records import LISTED_TWICE, AnnotatedImage, Records, names_of
from sppdet.data.splits import NAMED, missing_split
from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES
from sppdet.structures import Dataset

PARTS = ("JPEGImages", "Annotations", "ImageSets/Main")

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def read_voc(
    root: str | PathLike[str],
    split: str,
    classes: Sequence[str] | None = None,
    year: str | None = None,
    allow_outside: bool = False,
) -> Dataset:
    """Read the images listed in ImageSets/Main/<split>.txt, in the order of the list, and their objects.

    root: the year's folder, VOCdevkit or its parent. year: selects the year if root holds more than one.
    classes: names of labels 1..K; by default the sorted names of all objects in the trainval list (in all annotations
    if there is no such list), which are the same for all splits. allow_outside: follow links that lead out of root.

    A box (xmin, ymin, xmax, ymax), 1-based with inclusive corners, becomes (xmin - 1, ymin - 1, xmax, ymax), clipped to
    the image. Unusable boxes are skipped and logged (see `keep_valid_boxes`). A missing `difficult` means 0. A listed
    image without an XML file has no objects, which is logged.
    Raises DataError that names file and field if anything is missing, malformed or of an unknown class.
    """
    problems = Problems()
    source = VocSource(Path(root), year)
    source.top, source.allow_outside = Path(root), allow_outside
    records = source.read([split], problems)
    classes = classes or source.class_names(problems)
    dataset = build_dataset(f"{source.name} {split}", records, classes, source.least_side, problems).dataset
    problems.log()
    return dataset


class VocSource(Source):
    """A folder in VOC layout. splits: its lists, or the union of the lists of single classes (cat_train, dog_train)."""

    format, title, expected = "voc", "VOC layout", f"folders {', '.join(PARTS)}"
    label_suffix = ".xml"
    least_side = LEAST_SIDE

    def __init__(self, root: Path, year: str | None) -> None:
        """Raises DataError if the folder is missing, lacks a part of the layout, or holds several data sets."""
        super().__init__(_find_folder(root, year))
        self.lists = _find_lists(self.root / "ImageSets" / "Main")
        self.splits = tuple(self.lists)
        self._images = {
            _key(self.root / "JPEGImages", path): path for path in self._listed("JPEGImages", IMAGE_SUFFIXES)
        }
        self._xmls = {_key(self.root / "Annotations", path): path for path in self._listed("Annotations", (".xml",))}
        self._read: dict[str, AnnotatedImage] = {}

    @classmethod
    def find(cls, root: Path, year: str | None, /) -> "VocSource | None":
        """Return the data set with lists in a folder, in VOCdevkit or its parent; None if there is none."""
        lists = [folder for folder in _candidates(root) if any((folder / PARTS[2]).glob("*.txt"))]
        return cls(root, year) if lists else None

    def _read_splits(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these lists, in their order; None: of all lists. An image in several is read once."""
        names: dict[str, Path] = {}
        for split in self.splits if splits is None else splits:
            if split not in self.lists:
                place = self.root / "ImageSets" / "Main" / f"{split}.txt"
                raise missing_split(split, sorted(self.lists), place)
            for path in self.lists[split]:
                with problems.collect("unusable file"):
                    names |= dict.fromkeys(self._read_list(path, problems), path)
        return self._read_images(names, problems)

    def read_rest(self, splits: Sequence[str] | None) -> Records:
        problems, listed = Problems(strict=False), set[str]()
        for path in (path for split in (self.splits if splits is None else splits) for path in self.lists[split]):
            with problems.collect("unusable file"):
                listed.update(self._read_list(path, problems))
        rest = {name: self.root for name in {**self._xmls, **self._images} if name not in listed}
        records = self._read_images(rest, problems)
        orphans = [entry if entry.image else entry._replace(fault=ORPHAN) for entry in records.left_out]
        return records._replace(left_out=orphans)

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the sorted class names of trainval, or of all annotations. Raises DataError if there are none."""
        apart = Problems(problems.strict)
        if "trainval" in self.lists:
            source, images = "ImageSets/Main/trainval.txt", self.read(["trainval"], apart).images
        else:
            source = "Annotations"
            images = self._read_images(dict.fromkeys(self._xmls, self.root / source), apart).images
        classes = names_of(images)
        if not classes:
            raise DataError("no annotated object, so no classes", file=self.root / source)
        return classes

    def _listed(self, part: str, suffixes: Sequence[str]) -> list[Path]:
        """Return the files of a part with these suffixes; of several with one name the most common suffix is last."""
        files = [path for path in list_files(self.root / part) if path.suffix.lower() in suffixes]
        return sorted(files, key=lambda path: -suffixes.index(path.suffix.lower()))

    def _read_list(self, path: Path, problems: Problems) -> list[str]:
        """Return the names in an image list. VOC's lists of one class have a second column: -1, 0 or 1."""
        seen: dict[str, None] = {}  # in the order of the list
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            text, field = line.strip(), f"line {number}"
            name = self._find_name(text)
            if not text or (name is None and text.startswith("#")):
                continue
            if name is None:
                *words, last = text.split()
                if words and last not in ("-1", "0", "1"):
                    raise DataError("not an image list", file=path, field=field, expected="a name", got=text)
                first = " ".join(words) or last
                name = self._find_name(first) or stem_of(first)
            if name in seen:
                reason = f"{LISTED_TWICE}: keep one of the lines"
                problems.error(LISTED_TWICE, DataError(reason, file=path, field=field, got=name))
            seen[name] = None
        if not seen:
            raise DataError("lists no images", file=path)
        return list(seen)

    def _find_name(self, text: str) -> str | None:
        """Return the name of an image or annotation file that a list gives with or without its folders and suffix."""
        whole, stem = composed(text), stem_of(text)
        for name in (whole, stem, stem.rsplit("/", 1)[-1]):
            if name in self._xmls or name in self._images:
                return name
        return None

    def _read_images(self, names: Mapping[str, Path], problems: Problems) -> Records:
        """Read the images of these names, each listed in a file or folder."""
        images, left_out = [], []
        for name, record in self._read_each(
            names, lambda name, own: self._read_image(name, names[name], own), problems
        ):
            xml, image = self._xmls.get(name), self._images.get(name)
            if record:
                self._read[name] = record
                images.append(record)
            elif file := xml or image:
                left_out.append(Entry((file, "size"), image, count_objects(file) if xml else 0, problems.last_kind))
        return Records(images, left_out=left_out)

    def _read_image(self, name: str, listed_in: Path, problems: Problems) -> AnnotatedImage | None:
        if name in self._read:
            return self._read[name]
        xml, image = self._xmls.get(name), self._images.get(name)
        if xml is None and image is None:
            path = self.root / "Annotations" / f"{name}.xml"
            raise DataError(f"annotation file not found, listed in {listed_in}", file=path)
        if image is None:
            reason = f"image file not found (nor {', '.join(IMAGE_SUFFIXES[1:])})"
            raise DataError(reason, file=self.root / "JPEGImages" / f"{name}{IMAGE_SUFFIXES[0]}")
        return annotate(name, image, xml, problems)


def _find_folder(root: Path, year: str | None) -> Path:
    if not root.is_dir():
        raise DataError("folder not found", file=root)
    candidates = _candidates(root)
    if not candidates:
        raise DataError("is not in VOC layout", file=root, expected=f"folders {', '.join(PARTS)}")
    found = tuple(map(str, candidates))
    if year is not None:
        candidates = [path for path in candidates if folder_name(path) in (str(year), f"VOC{year}")]
        if not candidates:
            raise DataError("no such year", file=root, field="year", expected=found, got=year)
    if len(candidates) > 1:
        raise DataError("holds several data sets: give the year or one of the folders", file=root, got=", ".join(found))
    for part in PARTS:
        if not (candidates[0] / part).is_dir():
            raise DataError("folder not found", file=candidates[0] / part)
    return candidates[0]


def _candidates(root: Path) -> list[Path]:
    """Return root if it has a part of the layout, else the folders below that have one."""
    below = (path for pattern in ("*", "VOCdevkit/*") for path in root.glob(pattern) if not is_hidden(path.name))
    return [root] if _has_voc_part(root) else sorted(filter(_has_voc_part, below))


def _find_lists(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each list; if there are only lists of single classes, also those of each split together."""
    files = {path.stem: [path] for path in sorted(folder.glob("*.txt")) if not is_hidden(path.name)}
    lists = dict(files)
    for split in NAMED:
        parts = [path for name, paths in files.items() for path in paths if name.endswith(f"_{split}")]
        if parts and split not in files:
            lists[split] = parts
    return lists


def _key(folder: Path, path: Path) -> str:
    return stem_of(path.relative_to(folder).as_posix())


def _has_voc_part(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in PARTS)
