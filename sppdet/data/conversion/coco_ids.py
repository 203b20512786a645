"""COCO's ids of images and categories, for data in formats that have none: given by name, or kept in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sppdet.data.records import Records
from sppdet.errors import DataError
from sppdet.files.atomic import read_json, write_json
from sppdet.structures import Annotations, Dataset, ImageId

FILE = "coco_ids.json"


def number_images(parts: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Return the parts with numbers for names: of digits only, the number (000005: 5), otherwise the next that is free.

    An image in several parts has one number. Ids that are numbers already are kept.
    """
    names = {(image.path, image.id): image.id for part in parts.values() for image in part.images}
    numbers: dict[tuple[Path | None, ImageId], int] = {
        key: each for key, each in names.items() if isinstance(each, int)
    }
    taken = set(numbers.values())
    for key, name in names.items():
        number = _number_of(name)
        if key not in numbers and number is not None and number not in taken:
            numbers[key] = number
            taken.add(number)
    free = 1
    for key in names:
        if key not in numbers:
            while free in taken:
                free += 1
            numbers[key] = free
            taken.add(free)

    return {
        split: replace(part, images=tuple(replace(image, id=numbers[image.path, image.id]) for image in part.images))
        for split, part in parts.items()
    }


def _number_of(name: ImageId) -> int | None:
    text = str(name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def write_ids(folder: Path, images: Mapping[str, Annotations], classes: Sequence[str], ids: Sequence[int]) -> None:
    """Write the ids of the categories, in the order of their labels, and of images by their paths below the folder."""
    numbers = {path: image.id for path, image in images.items() if isinstance(image.id, int)}
    content = {"category_ids": dict(zip(classes, ids, strict=True)), "image_ids": numbers}
    write_json(folder / FILE, content)


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
    return Records(images, (*named, *used), categories)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
