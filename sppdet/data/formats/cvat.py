"""Data sets in the format "CVAT for images": all annotations in one annotations.xml."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from math import radians
from pathlib import Path

from sppdet.data.entries import Entry
from sppdet.data.files import composed, short_names, stem_of
from sppdet.data.formats.image_index import ImageIndex
from sppdet.data.formats.source import Source
from sppdet.data.formats.values import read_float, read_number, surround, surround_rotated, whole_size
from sppdet.data.formats.xml import parse_xml
from sppdet.data.problems import Problems
from sppdet.data.records import LISTED_TWICE, AnnotatedImage, AnnotatedObject, Box, Records, listed_twice
from sppdet.data.splits import check_splits, split_word
from sppdet.errors import DataError

FILE = "annotations.xml"
SHAPES = ("box", "polygon")
CORNERS = ("xtl", "ytl", "xbr", "ybr")


class CvatSource(Source):
    """The images and boxes, rotated boxes and polygons of one file. splits: its subsets."""

    format, title, expected = "cvat", "CVAT for images", "annotations.xml"

    def __init__(self, root: Path, file: Path, content: ElementTree.Element) -> None:
        super().__init__(root)
        self.file = file
        self._images = [(i, image) for i, image in enumerate(content.findall("image"), start=1)]
        names = (_name(label) for label in content.iterfind("meta//labels/label"))
        self._classes = tuple(dict.fromkeys(name for name in names if name))  # those of a project and of its tasks
        self._index = ImageIndex(root)
        self.splits = tuple(sorted({subset for _, image in self._images if (subset := _subset(image))}))

    @classmethod
    def find(cls, root: Path, _year: str | None, /) -> "CvatSource | None":
        """Return the data set of annotations.xml in a folder or one below; None if there is none of CVAT's."""
        for file in (root / FILE, *sorted(root.glob(f"*/{FILE}"))):
            if file.is_file():
                content = parse_xml(file)
                if content.tag == "annotations" and content.find("image") is not None:
                    return cls(root, file, content)
        return None

    def _read_splits(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        check_splits(splits, self.splits, self.root)
        return self._read([each for each in self._images if splits is None or _subset(each[1]) in splits], problems)

    def read_rest(self, splits: Sequence[str] | None) -> Records:
        others = [each for each in self._images if splits is not None and _subset(each[1]) not in splits]
        return self._read(others, Problems(strict=False))

    def _read(self, chosen: Sequence[tuple[int, ElementTree.Element]], problems: Problems) -> Records:
        keys = _unique([composed(image.get("name", "")) for _, image in chosen])
        names, images, left_out = short_names(keys), list[AnnotatedImage](), list[Entry]()
        times = Counter((self._find(image), _subset(image)) for _, image in chosen)
        for (i, image), key in zip(chosen, keys, strict=True):
            count, path = len(images), self._find(image)
            twice = path is not None and times[path, _subset(image)] > 1
            with problems.collect(LISTED_TWICE if twice else "malformed image entry"):
                if twice:
                    raise listed_twice(self.file, f"image[{i}]/name", image.get("name", ""))
                images.append(self._read_image(image, f"image[{i}]", names[key], problems))
            if len(images) == count:
                place = (self.file, f"image[{i}]/width")
                left_out.append(Entry(place, path, _count_shapes(image), problems.last_kind))
        return Records(images, self._classes or None, left_out=left_out)

    def _find(self, image: ElementTree.Element) -> Path | None:
        """Return the file of an image, if there is one."""
        try:
            return self._index.find(image.get("name", ""), self.file)
        except DataError:
            return None

    def _read_image(self, image: ElementTree.Element, field: str, name: str, problems: Problems) -> AnnotatedImage:
        given = image.get("name", "")
        path = self._index.find(given, self.file)
        if path is None:
            raise DataError(f"image file not found, listed in {self.file}", file=self.root / given)
        objects = []
        for kind in SHAPES:
            for n, shape in enumerate(image.findall(kind), start=1):
                where = f"{field}/{kind}[{n}]"
                with problems.collect("malformed object"):
                    label = shape.get("label", "").strip()
                    if not label:
                        raise DataError("missing", file=self.file, field=f"{where}/label", expected="a class name")
                    objects.append(AnnotatedObject(label, self._box(shape, where), False, f"{where}/label"))
        sides = [self._number(image, key, field) if image.get(key) else 0 for key in ("width", "height")]
        size, malformed = whole_size(*sides), _count_shapes(image) - len(objects)
        return AnnotatedImage(name, path, self.file, size, tuple(objects), f"{field}/width", malformed)

    def _box(self, shape: ElementTree.Element, field: str) -> Box:
        """Return the box of a shape, whose numbers are edges in pixels, 0-based."""
        if shape.tag == "polygon":
            try:
                points = [map(read_float, pair.split(",")) for pair in shape.get("points", "").split(";")]
                xs, ys = zip(*((x, y) for x, y in points), strict=True)
                return surround(xs, ys)
            except ValueError:
                got = shape.get("points", "")[:60]
                field = f"{field}/points"
                raise DataError(
                    "not an outline", file=self.file, field=field, expected="x,y;x,y;...", got=got
                ) from None
        x1, y1, x2, y2 = (self._number(shape, key, field) for key in CORNERS)
        angle = self._number(shape, "rotation", field) if shape.get("rotation") else 0
        box = (x1, y1, x2, y2)
        return surround_rotated((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, radians(angle)) if angle else box

    def _number(self, element: ElementTree.Element, key: str, field: str) -> float:
        return read_number(element.get(key), self.file, f"{field}/{key}")


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names without suffix, if no other has it."""
    stems = [stem_of(name) for name in names]
    counts = Counter(stems)
    return [stem if counts[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


def _name(label: ElementTree.Element) -> str:
    return (label.findtext("name") or "").strip()


def _count_shapes(image: ElementTree.Element) -> int:
    return sum(len(image.findall(kind)) for kind in SHAPES)


def _subset(image: ElementTree.Element) -> str | None:
    return split_word(image.get("subset", ""))
