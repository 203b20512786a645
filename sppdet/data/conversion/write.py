"""Data sets written as files, in VOC layout, COCO or YOLO format: their images, and the objects of each split."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sppdet.data.conversion.parts import Parts, unique_images
from sppdet.data.files import composed, file_names, short_names
from sppdet.data.formats.pairs import key_of
from sppdet.errors import DataError, ImageError
from sppdet.images import IMAGE_SUFFIXES, read_size
from sppdet.structures import Annotations

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # characters that XML cannot hold

Place = Callable[[Path, Path], object]  # copies or links an image to a new path
Written = dict[str, Annotations]  # by the image's path below the folder


def write_voc(folder: Path, parts: Parts, root: Path, place: Place) -> Written:
    """Write JPEGImages, Annotations and ImageSets/Main/SPLIT.txt. An image in several splits is written once.

    root: folder of the data, below which the images are. A box (x1, y1, x2, y2) becomes (x1 + 1, y1 + 1, x2, y2),
    decimals are kept. Raises ImageError for an image that cannot be read.
    """
    images, classes = unique_images(parts), next(iter(parts.values())).classes
    names = dict(zip(images, name_images(list(images.values()), root), strict=True))
    written = {}
    for key, image in images.items():
        file = _place(image, folder, "JPEGImages", names[key], place)
        written[file] = image
        _write(folder / "Annotations" / f"{names[key]}.xml", _xml(Path(file).name, image, classes))
    for split, dataset in parts.items():
        lines = "".join(f"{names[image.path, image.id]}\n" for image in dataset.images)
        _write(folder / "ImageSets" / "Main" / f"{split}.txt", lines)
    return written


def write_coco(folder: Path, parts: Parts, root: Path, place: Place) -> Written:
    """Write SPLIT/NAME and annotations/instances_SPLIT.json, with the ids of images and categories.

    root: see `write_voc`. A box becomes [x1, y1, x2 - x1, y2 - y1], `iscrowd` is difficult, `area` is the box's.
    """
    written = {}
    for split, dataset in parts.items():
        entries, objects = [], list[dict[str, Any]]()
        for image, name in zip(dataset.images, name_images(dataset.images, root), strict=True):
            file = _place(image, folder, split, name, place)
            written[file] = image
            width, height = _size(image)
            entries.append({"id": image.id, "file_name": Path(file).name, "width": width, "height": height})
            for label, box, difficult in _objects(image):
                x, y = (_fewest_digits(value) for value in box[:2])
                w, h = _fewest_digits(box[2] - x, x), _fewest_digits(box[3] - y, y)
                row = {"id": len(objects) + 1, "image_id": image.id, "category_id": dataset.category_ids[label - 1]}
                objects.append(row | {"bbox": [x, y, w, h], "area": w * h, "iscrowd": int(difficult)})
        categories = [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in zip(dataset.category_ids, dataset.classes, strict=True)
        ]
        content = {"images": entries, "annotations": objects, "categories": categories}
        _write(folder / "annotations" / f"instances_{split}.json", json.dumps(content))
    return written


def write_yolo(folder: Path, parts: Parts, root: Path, place: Place) -> Written:
    """Write data.yaml, images/SPLIT/NAME and labels/SPLIT/NAME.txt, without difficult objects.

    root: see `write_voc`. Numbers have 9 decimals at most, so that corners in whole pixels are read back as such.
    """
    import yaml

    written, classes = {}, next(iter(parts.values())).classes
    for split, dataset in parts.items():
        for image, name in zip(dataset.images, name_images(dataset.images, root), strict=True):
            written[_place(image, folder, f"images/{split}", name, place)] = image
            width, height = _size(image)
            lines = []
            for label, (x1, y1, x2, y2), difficult in _objects(image):
                if not difficult:
                    row = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
                    numbers = " ".join(f"{number:.9f}".rstrip("0").rstrip(".") for number in row)
                    lines.append(f"{label - 1} {numbers}\n")
            _write(folder / "labels" / split / f"{name}.txt", "".join(lines))
    content = {**{split: f"images/{split}" for split in parts}, "nc": len(classes), "names": list(classes)}
    _write(folder / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return written


def name_images(images: Sequence[Annotations], root: Path) -> list[str]:
    """Return a name of each image for a new file: its file's without suffix, and with its folders if others have it.

    The names are those of `file_names`.
    """
    paths = [image.path or Path(str(image.id)) for image in images]
    keys = [key_of(root, path) if path.is_relative_to(root) else composed(path.stem) for path in paths]
    short = short_names(keys)
    return file_names([short[key] for key in keys])


def _place(image: Annotations, folder: Path, where: str, name: str, place: Place) -> str:
    """Place the file of an image. Returns its path below the folder."""
    assert image.path
    suffix = image.path.suffix
    if suffix.lower() not in IMAGE_SUFFIXES:
        expected = ", ".join(IMAGE_SUFFIXES)
        raise DataError("has no suffix of an image", file=image.path, expected=expected, got=suffix or None)
    file = f"{where}/{name}{suffix}"
    (folder / where).mkdir(parents=True, exist_ok=True)
    place(image.path, folder / file)
    return file


def _size(image: Annotations) -> tuple[int, int]:
    assert image.path
    size = read_size(image.path)
    if size is None:
        raise ImageError("cannot be decoded", file=image.path)
    return size


def _objects(image: Annotations) -> list[tuple[int, list[float], bool]]:
    return list(zip(image.labels.tolist(), image.boxes.tolist(), image.difficult.tolist(), strict=True))


def _xml(file: str, image: Annotations, classes: Sequence[str]) -> str:
    root = ElementTree.Element("annotation")
    _add(root, "filename", file)
    width, height = _size(image)
    size = _add(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", 3)):  # every image is decoded to RGB
        _add(size, tag, value)
    for label, (x1, y1, x2, y2), difficult in _objects(image):
        element = _add(root, "object")
        _add(element, "name", classes[label - 1])
        _add(element, "difficult", int(difficult))
        corners = _add(element, "bndbox")
        xmin, ymin = _fewest_digits(x1 + 1, -1), _fewest_digits(y1 + 1, -1)
        for tag, number in (("xmin", xmin), ("ymin", ymin), ("xmax", _fewest_digits(x2)), ("ymax", _fewest_digits(y2))):
            _add(corners, tag, number)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, value: Any = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = None if value is None else NOT_XML.sub(_escaped, str(value))
    return element


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()


def _fewest_digits(number: float, added: float = 0) -> float:
    """Return the number with the fewest decimals whose sum with `added` is the same float32."""
    wanted = np.float32(added + number)
    for digits in range(17):
        rounded = round(number, digits)
        if np.float32(added + rounded) == wanted:
            return int(rounded) if digits == 0 else rounded
    return number


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
