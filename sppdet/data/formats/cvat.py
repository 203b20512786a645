"""Data sets in the format "CVAT for images": all annotations in one annotations.xml."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from math import radians
from pathlib import Path

from sppdet.data.files import ImageIndex, split_word
from sppdet.data.formats.pairs import short_names
from sppdet.data.formats.values import read_decimal, surround, surround_rotated
from sppdet.data.formats.xml import parse_xml
from sppdet.data.problems import Problems, check_splits
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Box, Records, names_of
from sppdet.errors import DataError

FILE = "annotations.xml"
CORNERS = ("xtl", "ytl", "xbr", "ybr")
LEAST_SIDE = 0  # pixels


class CvatSource:
    """The images and boxes, rotated boxes and polygons of one file. splits: its subsets."""

    format = "cvat"
    least_side = LEAST_SIDE

    def __init__(self, root: Path, file: Path, content: ElementTree.Element) -> None:
        self.root, self.file = root, file
        self.name = root.resolve().name
        self._images = [(i, image) for i, image in enumerate(content.findall("image"), start=1)]
        self._classes = tuple(name for label in content.iterfind("meta//labels/label") if (name := _name(label)))
        self._index = ImageIndex(root)
        self.splits = tuple(sorted({subset for _, image in self._images if (subset := _subset(image))}))

    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of the file; None: of all."""
        check_splits(splits, self.splits, self.root)
        chosen = [(i, image) for i, image in self._images if splits is None or _subset(image) in splits]
        names = short_names(image.get("name", "").rpartition(".")[0] for _, image in chosen)
        images = []
        for i, image in chosen:
            with problems.collect("malformed image entry"):
                images.append(self._read_image(image, f"image[{i}]", names, problems))
        return Records(images, self._classes or None)

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the labels of the task in its order, or the sorted names of all objects."""
        classes = self._classes or names_of(self.read(None, Problems(problems.strict)).images)
        if not classes:
            raise DataError("no annotated object, so no classes", file=self.file)
        return classes

    def _read_image(
        self, image: ElementTree.Element, field: str, names: dict[str, str], problems: Problems
    ) -> AnnotatedImage:
        name = image.get("name", "")
        path = self._index.find(name, self.file)
        if path is None:
            raise DataError(f"image file not found, listed in {self.file}", file=self.root / name)
        objects = []
        for kind in ("box", "polygon"):
            for n, shape in enumerate(image.findall(kind), start=1):
                where = f"{field}/{kind}[{n}]"
                with problems.collect("malformed object"):
                    label = shape.get("label", "").strip()
                    if not label:
                        raise DataError("missing", file=self.file, field=f"{where}/label", expected="a class name")
                    objects.append(AnnotatedObject(label, self._box(shape, where), False, f"{where}/label"))
        sides = [self._number(image, key, field) if image.get(key) else 0 for key in ("width", "height")]
        size = (int(sides[0]), int(sides[1])) if all(1 <= side < 2**31 for side in sides) else None
        return AnnotatedImage(names[name.rpartition(".")[0]], path, self.file, size, tuple(objects), f"{field}/width")

    def _box(self, shape: ElementTree.Element, field: str) -> Box:
        """Return the box of a shape, whose numbers are edges in pixels, 0-based."""
        if shape.tag == "polygon":
            points = [pair.split(",") for pair in shape.get("points", "").split(";")]
            try:
                return surround([float(x) for x, _ in points], [float(y) for _, y in points])
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
        text = element.get(key, "")
        try:
            return read_decimal(text)
        except ValueError:
            reason, field = "not a number" if text else "missing", f"{field}/{key}"
            raise DataError(reason, file=self.file, field=field, expected="a number", got=text or None) from None


def find_cvat(root: Path) -> CvatSource | None:
    """Return the data set of annotations.xml in a folder or one below; None if there is none of CVAT's."""
    for file in (root / FILE, *sorted(root.glob(f"*/{FILE}"))):
        if file.is_file():
            content = parse_xml(file)
            if content.tag == "annotations" and content.find("image") is not None:
                return CvatSource(root, file, content)
    return None


def _name(label: ElementTree.Element) -> str:
    return (label.findtext("name") or "").strip()


def _subset(image: ElementTree.Element) -> str | None:
    return split_word(image.get("subset", ""))
