"""Data sets in YOLO format: a text file beside each image, one line "class cx cy w h" an object, in fractions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from sppdet.data.files import read_text
from sppdet.data.formats.pairs import Pair, Pairs, PairSource, find_pairs
from sppdet.data.formats.units import Sides, check_sides
from sppdet.data.formats.values import read_float, surround
from sppdet.data.formats.yolo_names import NAME_FILES, find_yaml, read_names, splits_of_lists, splits_of_yaml
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Box, Records
from sppdet.errors import DataError
from sppdet.images import read_size

MOST_CLASSES = 10_000  # without names
LARGEST = 2  # a number above it is in pixels; up to it, a box may reach beyond its image
DIGITS = 1e-6  # of the image: the precision of the files, to which corners are rounded to whole pixels


class YoloSource(PairSource):
    """A folder with images, label files and the names of the classes.

    Splits are those of data.yaml, of lists of images (train.txt), or of folders (images/train), the first there are.
    """

    format, title, expected = "yolo", "YOLO format", "text files of labels"
    label_suffix = ".txt"

    def __init__(self, root: Path, pairs: Pairs, found: Problems) -> None:
        yaml, images = find_yaml(root), [pair.image for pair in pairs.images]
        parts = (splits_of_yaml(yaml, images) if yaml else {}) or splits_of_lists(root, images)
        pairs = pairs._replace(orphans=[path for path in pairs.orphans if _is_label(path)])  # not lists of names
        super().__init__(root, pairs, found, parts)
        self._names = read_names(root, yaml)

    @classmethod
    def find(cls, root: Path, _year: str | None, /) -> "YoloSource | None":
        found = Problems()
        pairs = find_pairs(root, ".txt", found)
        labels = [pair.label for pair in pairs.images if pair.label]
        if not labels:
            return None
        if not find_yaml(root) and not any((root / name).is_file() for name in NAME_FILES):
            lines = [line for path in labels[:20] for line in read_text(path).splitlines() if line.strip()]
            if not lines or not all(map(_looks_right, lines)):
                return None
        return cls(root, pairs, found)

    def _read(self, pairs: Sequence[Pair], problems: Problems) -> Records:
        classes, sides = self._classes, dict[Pair, list[Sides]]()

        def read(name: str, pair: Pair, own: Problems) -> AnnotatedImage:
            lines = _read_label(pair, self._names, own)
            image = _annotate(pair, name, lines, classes)._replace(malformed=len(own.found))
            sides[pair] = [_sides(pair.label, line) for line in lines if pair.label and len(line.numbers) == 4]
            return image

        records = self._read_pairs(pairs, read, problems)
        try:
            check_sides([side for pair in pairs for side in sides.get(pair, ())], "a class, the center and the sides")
        except DataError as error:
            problems.error("units", error)
            left_out = [*records.left_out, *(image.entry("units") for image in records.images)]
            return Records([], self._classes, left_out=left_out)
        return records._replace(classes=self._classes)

    def _count_objects(self, label: Path) -> int:
        return len(_lines_of(label))

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """Names in the order of their numbers; the numbers up to the highest of any split if no file names them."""
        most, quiet = 0, Problems(strict=False)
        pairs = () if self._names else self._pairs
        for _, lines in self._read_each(pairs, lambda pair, own: _read_label(pair, None, own), quiet):
            most = max([most, *(line.label for line in lines or ())])
        return self._names or tuple(map(str, range(most + 1)))


def _lines_of(path: Path) -> list[str]:
    """Return the lines of a label file that are not empty, none if it cannot be read."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except DataError:
        return []


def _is_label(path: Path) -> bool:
    lines = _lines_of(path)
    return bool(lines) and all(map(_looks_right, lines))


def _looks_right(line: str) -> bool:
    try:
        return len([read_float(word) for word in line.split()]) >= 5
    except ValueError:
        return False


class _Line(NamedTuple):
    """field: its number in the file. numbers: center and sides, or x y of the points of an outline."""

    field: str
    label: int
    numbers: list[float]


def _read_label(pair: Pair, classes: Sequence[str] | None, problems: Problems) -> list[_Line]:
    """Return the lines of a label file; none if it is empty or missing."""
    lines: list[_Line] = []
    if pair.label:
        for number, text in enumerate(read_text(pair.label).splitlines(), start=1):
            if text.strip():
                with problems.collect("malformed object"):
                    lines.append(_parse(pair.label, f"line {number}", text, classes))
    return lines


def _annotate(pair: Pair, name: str, lines: Sequence[_Line], classes: Sequence[str]) -> AnnotatedImage:
    size = read_size(pair.image) if lines else None
    if lines and size is None:
        raise DataError("cannot be read, so its boxes have no size in pixels", file=pair.image)
    objects = [
        AnnotatedObject(classes[line.label], _box(line.numbers, size), False, line.field) for line in lines if size
    ]
    return AnnotatedImage(name, pair.image, pair.label or pair.image, size, tuple(objects))


def _sides(file: Path, line: _Line) -> Sides:
    cx, cy, w, h = line.numbers
    leaves = max(abs(cx - 0.5) + w / 2, abs(cy - 0.5) + h / 2) > 0.51
    return Sides(line.numbers, cx < w <= 1.01 and cy < h <= 1.01, leaves, file, line.field)


def _parse(path: Path, field: str, text: str, classes: Sequence[str] | None) -> _Line:
    expected = "a class and 4 numbers, or a class and the x y of 3 or more points"
    try:
        label, *numbers = [read_float(word) for word in text.split()]
    except ValueError:
        raise DataError("not a label", file=path, field=field, expected=expected, got=text[:60]) from None
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        raise DataError("not a label", file=path, field=field, expected=expected, got=f"{len(numbers) + 1} numbers")
    if not 0 <= label < (len(classes) if classes else MOST_CLASSES) or label % 1:
        known = f"0 to {len(classes) - 1} ({', '.join(classes)})" if classes else f"0 to {MOST_CLASSES - 1}"
        raise DataError("unknown class", file=path, field=field, expected=known, got=f"{label:g}")
    if not all(abs(number) <= LARGEST for number in numbers):
        got = " ".join(f"{number:g}" for number in numbers[:4])
        raise DataError("not fractions of the image", file=path, field=field, expected="from 0 to 1", got=got)
    return _Line(field, int(label), numbers)


def _box(numbers: Sequence[float], size: tuple[int, int]) -> Box:
    """Return the box in pixels of a center and sides, or around the points of an outline, in fractions."""
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    else:
        corners = surround(numbers[0::2], numbers[1::2])
    x1, y1, x2, y2 = (_to_pixels(value, size[axis % 2]) for axis, value in enumerate(corners))
    return x1, y1, x2, y2


def _to_pixels(fraction: float, side: int) -> float:
    value = fraction * side
    whole = float(round(value)) if abs(value) < 1e9 else value
    return whole if abs(value - whole) <= DIGITS * side else value
