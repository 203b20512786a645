"""One image's annotations in VOC XML."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

from sppdet.data.files import read_data
from sppdet.data.formats.units import check_pixels
from sppdet.data.formats.values import read_decimal, read_flag, read_number, surround, surround_rotated, whole_size
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Box
from sppdet.errors import DataError
from sppdet.structures import ImageId

CORNERS = ("xmin", "ymin", "xmax", "ymax")
ROTATED = ("cx", "cy", "w", "h", "angle")
LEAST_SIDE = 1  # pixels; a box of one pixel is an accidental click of the annotator


class XmlFile(NamedTuple):
    """The content of one file. size: (width, height) in pixels, None if not given. image: its file's name, if given.
    malformed: number of objects that cannot be read."""

    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]
    image: str
    malformed: int


def read_xml(path: Path, problems: Problems) -> XmlFile | None:
    """Read the objects of one image.

    A box (xmin, ymin, xmax, ymax), 1-based with inclusive corners, becomes (xmin - 1, ymin - 1, xmax, ymax). In its
    place there may be a `polygon` or a `robndbox` (a rotated box), whose numbers are kept. Raises DataError that names
    the file, and the field, if the file cannot be read; errors of objects are collected in `problems`. Returns None if
    its boxes are in other units, after that has been collected.
    """
    root = parse_xml(path)
    objects, raw, fields = [], [], []
    for index, element in enumerate(root.findall("object"), start=1):
        field = f"object[{index}]"
        with problems.collect("malformed object"):
            for tag in ("name", "bndbox"):
                if len(element.findall(tag)) > 1:
                    raise DataError("given more than once", file=path, field=f"{field}/{tag}", expected="one")
            name = (element.findtext("name") or "").strip()
            if not name:
                raise DataError("missing", file=path, field=f"{field}/name", expected="a class name")
            shape = _read_shape(path, element, field)
            difficult = _read_difficult(path, element, f"{field}/difficult", problems)
            objects.append(AnnotatedObject(name, shape.box, difficult, f"{field}/name"))
            raw.append(shape.numbers)
            fields.append(f"{field}/{shape.tag}")
    try:
        check_pixels(raw, fields, path, "pixels, from 1 to the width or height")
    except DataError as error:
        problems.error("units", error)
        return None
    malformed = len(root.findall("object")) - len(objects)
    return XmlFile(_read_size(root), tuple(objects), (root.findtext("filename") or "").strip(), malformed)


def count_objects(path: Path) -> int:
    """Return the number of objects in a file, 0 if it cannot be read."""
    try:
        return len(parse_xml(path).findall("object"))
    except DataError:
        return 0


def annotate(name: ImageId, image: Path, xml: Path | None, problems: Problems) -> AnnotatedImage | None:
    """Return an image with the objects of its XML file (see `read_xml`); without one it has none, after a warning."""
    if xml is None:
        problems.warn("no annotation file", "no annotation file, taken as without objects", image)
        return AnnotatedImage(name, image, image, None, ())
    content = read_xml(xml, problems)
    if content is None:
        return None
    return AnnotatedImage(name, image, xml, content.size, content.objects, malformed=content.malformed)


class _Shape(NamedTuple):
    """box: as of AnnotatedObject. numbers: corners as the file gives them."""

    tag: str
    box: Box
    numbers: Box


def parse_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file in any encoding that it declares. Raises DataError if it cannot be read."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        data = read_data(path)
        declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["'][^>]*\?>""", data)
        if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"utf-16", b"us-ascii", b"iso-8859-1"):
            data = data[declared.end() :].decode(declared[1].decode()).encode()  # the parser knows few encodings
        root: ElementTree.Element = fromstring(data)
        return root
    except (ElementTree.ParseError, DefusedXmlException, OSError, ValueError, LookupError) as error:
        raise DataError(f"is not readable XML: {_reason(path, error)}", file=path) from error


def _reason(path: Path, error: Exception) -> str:
    try:
        empty = not path.read_text(encoding="utf-8").strip()
        return "the file is empty; remove it if its image has no objects" if empty else str(error)
    except ValueError:
        return "the text is not in the encoding that its first line declares, or in UTF-8"
    except OSError:
        return str(error)


def _read_shape(path: Path, element: ElementTree.Element, field: str) -> _Shape:
    corners, rotated, polygon = element.find("bndbox"), element.find("robndbox"), element.find("polygon")
    if corners is not None or (rotated is None and polygon is None):
        if corners is None:
            raise DataError("missing", file=path, field=f"{field}/bndbox", expected=", ".join(CORNERS))
        for child in corners:
            if len(corners.findall(child.tag)) > 1:
                raise DataError("given more than once", file=path, field=f"{field}/bndbox/{child.tag}", expected="one")
        xmin, ymin, xmax, ymax = (read_number(corners.findtext(key), path, f"{field}/bndbox/{key}") for key in CORNERS)
        return _Shape("bndbox", (xmin - 1, ymin - 1, xmax, ymax), (xmin, ymin, xmax, ymax))
    if rotated is not None:
        cx, cy, w, h, angle = (read_number(rotated.findtext(key), path, f"{field}/robndbox/{key}") for key in ROTATED)
        box = surround_rotated(cx, cy, w, h, angle)
        return _Shape("robndbox", box, box)
    assert polygon is not None
    points = [each for each in polygon.iter() if re.fullmatch(r"[xy]\d*", each.tag)]
    xs, ys = (
        [read_number(point.text, path, f"{field}/polygon/{point.tag}") for point in points if point.tag[0] == axis]
        for axis in "xy"
    )
    if not xs or len(xs) != len(ys):
        raise DataError("not an outline", file=path, field=f"{field}/polygon", expected="x1, y1, x2, y2, ...")
    box = surround(xs, ys)
    return _Shape("polygon", box, box)


def _read_difficult(path: Path, element: ElementTree.Element, field: str, problems: Problems) -> bool:
    text = element.findtext("difficult")
    flag = read_flag(text)
    if flag is None:
        problems.warn("difficult", f"neither 0 nor 1 but {text!r}, taken as 0", path, field)
    return bool(flag)


def _read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return (width, height), None unless both are numbers."""
    try:
        width, height = (read_decimal(root.findtext(f"size/{key}") or "0") for key in ("width", "height"))
    except ValueError:
        return None
    return whole_size(width, height)
