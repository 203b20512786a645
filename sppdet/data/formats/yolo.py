"""Data sets in YOLO format: a text file beside each image, one line "class cx cy w h" an object, in fractions."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.data.files import read_text
from sppdet.data.formats.pairs import Pair, Pairs, find_pairs, short_names
from sppdet.data.formats.units import Sides, check_sides
from sppdet.data.formats.values import surround
from sppdet.data.formats.yolo_names import NAME_FILES, find_yaml, read_names, splits_of_lists, splits_of_yaml
from sppdet.data.problems import Problems, check_splits
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Box, Records
from sppdet.errors import DataError
from sppdet.images import read_size
from sppdet.wording import counted

LEAST_SIDE = 0  # pixels
LARGEST = 2  # a number above it is in pixels; up to it, a box may reach beyond its image
DIGITS = 1e-6  # of the image: the precision of the files, to which corners are rounded to whole pixels


class YoloSource:
    """A folder with images, label files and the names of the classes.

    Splits are those of data.yaml, of lists of images (train.txt), or of folders (images/train), the first there are.
    """

    format = "yolo"
    least_side = LEAST_SIDE

    def __init__(self, root: Path, pairs: Pairs, found: Problems) -> None:
        self.root = root
        self.name = root.resolve().name
        self.found, yaml = found, find_yaml(root)
        self.classes = read_names(root, yaml)
        self.pairs = pairs.images
        images = [pair.image for pair in self.pairs]
        given = (splits_of_yaml(yaml, images) if yaml else {}) or splits_of_lists(root, images)
        self.parts = given or pairs.splits()
        self.splits = tuple(sorted(self.parts))
        strays = set(images).difference(*self.parts.values())
        if strays and self.splits:
            found.warn("images of no split", f"{counted(len(strays), 'image')} in no split", root)

    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of their names; None: of all."""
        check_splits(splits, self.splits, self.root)
        problems.found += self.found.found
        wanted = None if splits is None else set().union(*(self.parts[split] for split in splits))
        pairs = [pair for pair in self.pairs if wanted is None or pair.image in wanted]
        names = short_names(pair.key for pair in pairs)
        images, sides, most = [], [], 0
        for pair in pairs:
            with problems.collect("unusable file"):
                lines = _read_label(pair, self.classes, problems)
                images.append(_annotate(pair, names[pair.key], lines, self.classes))
                most = max([most, *(line.label for line in lines)])
                sides += [_sides(pair.label, line) for line in lines if pair.label and len(line.numbers) == 4]
        try:
            check_sides(sides, "a class, the center and the sides")
        except DataError as error:
            problems.error("units", error)
            images = []
        return Records(images, self.classes or tuple(str(number) for number in range(most + 1)))

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the names in the order of their numbers; the numbers if no file names them."""
        return self.classes or self.read(None, Problems(problems.strict)).classes or ()


def find_yolo(root: Path) -> YoloSource | None:
    """Return the images with YOLO labels below a folder; None if there are none."""
    found = Problems()
    pairs = find_pairs(root, ".txt", found)
    labels = [pair.label for pair in pairs.images if pair.label]
    if not labels:
        return None
    if not find_yaml(root) and not any((root / name).is_file() for name in NAME_FILES):
        lines = [line for path in labels[:20] for line in read_text(path).splitlines() if line.strip()]
        if not lines or not all(map(_looks_right, lines)):
            return None
    return YoloSource(root, pairs, found)


def _looks_right(line: str) -> bool:
    try:
        return len([float(word) for word in line.split()]) >= 5
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


def _annotate(pair: Pair, name: str, lines: Sequence[_Line], classes: Sequence[str] | None) -> AnnotatedImage:
    size = read_size(pair.image) if lines else None
    if lines and size is None:
        raise DataError("cannot be read, so its boxes have no size in pixels", file=pair.image)
    objects = [
        AnnotatedObject(
            classes[line.label] if classes else str(line.label), _box(line.numbers, size), False, line.field
        )
        for line in lines
        if size
    ]
    return AnnotatedImage(name, pair.image, pair.label or pair.image, size, tuple(objects))


def _sides(file: Path, line: _Line) -> Sides:
    cx, cy, w, h = line.numbers
    leaves = max(abs(cx - 0.5) + w / 2, abs(cy - 0.5) + h / 2) > 0.51
    return Sides(line.numbers, cx < w <= 1.01 and cy < h <= 1.01, leaves, file, line.field)


def _parse(path: Path, field: str, text: str, classes: Sequence[str] | None) -> _Line:
    expected = "a class and 4 numbers, or a class and the x y of 3 or more points"
    try:
        label, *numbers = [float(word) for word in text.split()]
    except ValueError:
        raise DataError("not a label", file=path, field=field, expected=expected, got=text[:60]) from None
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        raise DataError("not a label", file=path, field=field, expected=expected, got=f"{len(numbers) + 1} numbers")
    if not (label >= 0 and label == int(min(label, 1e9))) or (classes and label >= len(classes)):
        known = f"0 to {len(classes) - 1} ({', '.join(classes)})" if classes else "a whole number"
        raise DataError("unknown class", file=path, field=field, expected=known, got=f"{label:g}")
    if any(number > LARGEST for number in numbers):
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
