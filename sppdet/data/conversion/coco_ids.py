"""COCO's ids of images and categories, for data in formats that have none: given by name, or kept in a file."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sppdet.data.conversion.parts import Parts, unique_images
from sppdet.data.records import Records
from sppdet.errors import DataError
from sppdet.files.atomic import read_json, write_json
from sppdet.structures import Annotations, Dataset, ImageId

FILE = "coco_ids.json"


def number_images(parts: Parts) -> dict[str, Dataset]:
    """Return the parts with numbers for names: of digits only, the number (000005: 5), otherwise the next that is free.

    An image in several parts has one number. Ids that are numbers already are kept.
    """
    keys = unique_images(parts)
    numbers = {key: name for key in keys if isinstance(name := key[1], int)}
    taken = set(numbers.values())
    for key in keys:
        number = _number_of(key[1])
        if key not in numbers and number is not None and number not in taken:
            numbers[key] = number
            taken.add(number)
    free = (number for number in count(1) if number not in taken)
    numbers |= {key: next(free) for key in keys if key not in numbers}
    return {
        split: replace(part, images=tuple(replace(image, id=numbers[image.path, image.id]) for image in part.images))
        for split, part in parts.items()
    }


def _number_of(name: ImageId) -> int | None:
    text = str(name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def has_ids(parts: Parts, in_order: bool) -> bool:
    """Return True if a set has ids of COCO's, or an order of classes other than by name.

    in_order: the format of the files keeps the order of the classes.
    """
    first, images = next(iter(parts.values())), unique_images(parts).values()
    used = {first.classes[label - 1] for image in images for label in set(image.labels.tolist())}
    numbered = first.category_ids != tuple(range(1, len(first.classes) + 1))
    named = any(isinstance(image.id, int) for image in images)
    return numbered or named or (not in_order and first.classes != tuple(sorted(used)))


def write_ids(folder: Path, images: Mapping[str, Annotations], parts: Parts) -> None:
    """Write the ids of the categories, in the order of their labels, and of images by their paths below the folder."""
    first = next(iter(parts.values()))
    numbers = {path: image.id for path, image in images.items() if isinstance(image.id, int)}
    categories = dict(zip(first.classes, first.category_ids, strict=True))
    write_json(folder / FILE, {"category_ids": categories, "image_ids": numbers})


def restore_ids(records: Records, root: Path) -> Records:
    """Return the records with the ids and the order of classes in the file of a folder, unchanged if it has none.

    Classes that the file does not name get none. Raises DataError if it is another file.
    """
    file = root / FILE
    if not file.is_file():
        return records
    content: Any = read_json(file)
    tables = []
    for key in ("category_ids", "image_ids"):
        table: Any = content.get(key) if isinstance(content, dict) else None
        if not isinstance(table, dict) or not all(type(number) is int for number in table.values()):
            raise DataError("not ids", file=file, field=key, expected="{name: number}")
        tables.append(table)
    categories, numbers = tables
    images = [image._replace(id=numbers.get(_below(root, image.path), image.id)) for image in records.images]
    named = dict.fromkeys([*categories, *(records.classes or ())])
    used = sorted({thing.name for image in images for thing in image.objects} - set(named))
    return records._replace(images=images, classes=(*named, *used), category_ids=categories)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
