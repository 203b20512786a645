"""Data sets in PASCAL VOC layout: JPEGImages, Annotations and ImageSets/Main in one folder."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from sppdet.errors import DataError
from sppdet.structures import Annotations, Dataset
from sppdet.structures.valid_boxes import annotate_image

JPEG_IMAGES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
PARTS = ("JPEGImages", "Annotations", "ImageSets/Main")
CORNERS = ("xmin", "ymin", "xmax", "ymax")

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class _File(NamedTuple):
    """The content of one XML file. size: (width, height) in pixels, None if not given."""

    path: Path
    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def read_voc(
    root: str | PathLike[str], split: str, classes: Sequence[str] | None = None, year: str | None = None
) -> Dataset:
    """Read the images listed in ImageSets/Main/<split>.txt, in the order of the list, and their objects.

    root: the year's folder, VOCdevkit or its parent. year: selects the year if root holds more than one.
    classes: names of labels 1..K; by default the sorted names of all objects in the trainval list (in all annotations
    if there is no such list), which are the same for all splits.

    A box (xmin, ymin, xmax, ymax), 1-based with inclusive corners, becomes (xmin - 1, ymin - 1, xmax, ymax), clipped to
    the image. Unusable boxes are skipped and logged (see `keep_valid_boxes`). A missing `difficult` means 0.
    Raises DataError that names file and field if anything is missing, malformed or of an unknown class.
    """
    folder = _find_folder(Path(root), year)
    names = _read_list(folder, split)
    files = {name: _read_xml(folder, name, f"ImageSets/Main/{split}.txt") for name in names}
    if classes is None:
        classes = _find_classes(folder, files)
    labels = {name: label for label, name in enumerate(classes, start=1)}
    images = tuple(_annotate(folder, name, file, labels) for name, file in files.items())
    return Dataset(f"{_name(folder)} {split}", tuple(classes), images)


def _find_folder(root: Path, year: str | None) -> Path:
    if not root.is_dir():
        raise DataError("folder not found", file=root)
    below = (path for pattern in ("*", "VOCdevkit/*") for path in root.glob(pattern))
    candidates = [root] if _has_voc_part(root) else sorted(filter(_has_voc_part, below))
    if not candidates:
        raise DataError("is not in VOC layout", file=root, expected=f"folders {', '.join(PARTS)}")
    listed = ", ".join(str(path) for path in candidates)
    if year is not None:
        candidates = [path for path in candidates if _name(path) in (str(year), f"VOC{year}")]
        if not candidates:
            raise DataError("no such year", file=root, field="year", expected=f"one of {listed}", got=year)
    if len(candidates) > 1:
        raise DataError("holds several data sets: give the year or one of the folders", file=root, got=listed)
    for part in PARTS:
        if not (candidates[0] / part).is_dir():
            raise DataError("folder not found", file=candidates[0] / part)
    return candidates[0]


def _name(folder: Path) -> str:
    return Path(os.path.abspath(folder)).name  # resolves ".", but not links


def _has_voc_part(folder: Path) -> bool:
    return any((folder / part).is_dir() for part in PARTS)


def _read_list(folder: Path, split: str) -> list[str]:
    """Return the first column of an image list. VOC's lists of one class have a second column: -1, 0 or 1."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        splits = ", ".join(sorted(p.stem for p in lists.glob("*.txt"))) or "none"
        raise DataError("no such split", file=path, field="split", expected=f"one of {splits}", got=split)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", file=path) from error
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    seen: dict[str, None] = {}  # in the order of the list
    for number, (name, *columns) in rows:
        line = f"line {number}"
        if columns not in ([], ["-1"], ["0"], ["1"]):
            got = " ".join([name, *columns])
            raise DataError("not an image list", file=path, field=line, expected="a name", got=got)
        if name in seen:
            raise DataError("image listed twice", file=path, field=line, got=name)
        seen[name] = None
    if not seen:
        raise DataError("lists no images", file=path)
    return list(seen)


def _find_classes(folder: Path, known: dict[str, _File]) -> tuple[str, ...]:
    """Return the sorted class names of trainval, or of all annotations. `known` holds the files already read."""
    if (folder / "ImageSets" / "Main" / "trainval.txt").is_file():
        source, names = "ImageSets/Main/trainval.txt", _read_list(folder, "trainval")
    else:
        source, names = "Annotations", sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
    files = (known[name] if name in known else _read_xml(folder, name, source) for name in names)
    classes = sorted({thing.name for file in files for thing in file.objects})
    if not classes:
        raise DataError("no annotated object, so no classes", file=folder / source)
    return tuple(classes)


def _read_xml(folder: Path, name: str, listed_in: str) -> _File:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    path = folder / "Annotations" / f"{name}.xml"
    if not path.is_file():
        raise DataError(f"annotation file not found, listed in {folder / listed_in}", file=path)
    try:
        root = parse(path).getroot()
    except (ElementTree.ParseError, DefusedXmlException, OSError, ValueError) as error:
        raise DataError(f"is not readable XML: {error}", file=path) from error
    objects = tuple(_read_object(path, element, i) for i, element in enumerate(root.findall("object"), start=1))
    return _File(path, _read_size(path, root), objects)


def _read_size(path: Path, root: ElementTree.Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    width, height = (_read_number(path, size, key, f"size/{key}", default=0) for key in ("width", "height"))
    return (int(width), int(height)) if 0 < width < float("inf") and 0 < height < float("inf") else None


def _read_object(path: Path, element: ElementTree.Element, index: int) -> _Object:
    field = f"object[{index}]"
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DataError("missing", file=path, field=f"{field}/name", expected="a class name")
    corners = element.find("bndbox")
    if corners is None:
        raise DataError("missing", file=path, field=f"{field}/bndbox", expected=", ".join(CORNERS))
    xmin, ymin, xmax, ymax = (_read_number(path, corners, key, f"{field}/bndbox/{key}") for key in CORNERS)
    difficult = _read_number(path, element, "difficult", f"{field}/difficult", default=0) != 0
    return _Object(name, (xmin - 1, ymin - 1, xmax, ymax), difficult)


def _read_number(path: Path, element: ElementTree.Element, key: str, field: str, default: float | None = None) -> float:
    text = element.findtext(key)
    if text is None and default is not None:
        return default
    try:
        return float(text or "")
    except ValueError:
        reason = "not a number" if text else "missing"
        raise DataError(reason, file=path, field=field, expected="a number", got=text) from None


def _annotate(folder: Path, name: str, file: _File, labels: dict[str, int]) -> Annotations:
    for index, thing in enumerate(file.objects, start=1):
        if thing.name not in labels:
            field, expected = f"object[{index}]/name", f"one of {', '.join(labels)}"
            raise DataError("unknown class", file=file.path, field=field, expected=expected, got=thing.name)
    objects = [(labels[thing.name], thing.box, thing.difficult) for thing in file.objects]
    # A box of one pixel is an accidental click of the annotator, so sides must exceed one pixel.
    return annotate_image(_find_image(folder, name), name, objects, file.size, 1, file.path)


def _find_image(folder: Path, name: str) -> Path:
    paths = [folder / "JPEGImages" / f"{name}{suffix}" for suffix in JPEG_IMAGES]
    for path in paths:
        if path.is_file():
            return path
    raise DataError(f"image file not found (nor {', '.join(JPEG_IMAGES[1:])})", file=paths[0])
