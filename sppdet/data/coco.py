"""Data sets in COCO format: a folder of images and one JSON file of annotations."""

from collections import defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from sppdet.errors import DataError
from sppdet.files.atomic import read_json
from sppdet.structures import Annotations, Dataset
from sppdet.structures.valid_boxes import Object, annotate_image


def read_coco(
    images_folder: str | PathLike[str], annotation_file: str | PathLike[str], classes: Sequence[str] | None = None
) -> Dataset:
    """Read all images of an annotation file, in its order, and their objects. Image and category ids are kept.

    classes: names of labels 1..K; by default all categories in the order of their ids.
    bbox [x, y, w, h] becomes (x, y, x + w, y + h), clipped to the image; `iscrowd` becomes difficult. Unusable boxes
    are skipped and logged (see `keep_valid_boxes`).
    Raises DataError that names file and field if anything is missing, malformed or of an unknown class.
    """
    folder, path = Path(images_folder), Path(annotation_file)
    if not folder.is_dir():
        raise DataError("folder not found", file=folder)
    content = read_json(path)
    names = _read_categories(path, content)
    category_ids = _order_categories(path, names, classes)
    labels = {category: label for label, category in enumerate(category_ids, start=1)}
    records = {}
    for i, record in enumerate(_get(path, content, "images", list)):
        number = _get(path, record, "id", int, f"images[{i}]")
        if number in records:
            raise DataError("id used twice", file=path, field=f"images[{i}].id", got=number)
        records[number] = (i, record)
    objects = _read_objects(path, content, records.keys(), names, labels)
    images = tuple(_annotate(path, folder, number, *records[number], objects[number]) for number in records)
    return Dataset(path.stem, tuple(names[category] for category in category_ids), images, category_ids)


def _get(path: Path, record: Any, key: str, kind: type, where: str = "") -> Any:
    """Return record[key]. Raises DataError if it is missing or of another type."""
    field = f"{where}.{key}" if where else key
    if not isinstance(record, dict):
        raise DataError("not an object", file=path, field=where or None, expected="{...}", got=type(record).__name__)
    if key not in record:
        raise DataError("missing", file=path, field=field, expected=kind.__name__)
    value = record[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError("wrong type", file=path, field=field, expected=kind.__name__, got=repr(value)[:60])
    return value


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**63)  # larger ones may not fit a float


def _read_categories(path: Path, content: Any) -> dict[int, str]:
    categories = {}
    for i, record in enumerate(_get(path, content, "categories", list)):
        where = f"categories[{i}]"
        categories[_get(path, record, "id", int, where)] = _get(path, record, "name", str, where)
    if not categories or len(set(categories.values())) < len(content["categories"]):
        raise DataError("ids and names must be unique, at least one", file=path, field="categories")
    return categories


def _order_categories(path: Path, names: dict[int, str], classes: Sequence[str] | None) -> tuple[int, ...]:
    if classes is None:
        return tuple(sorted(names))
    ids = {name: number for number, name in names.items()}
    for name in classes:
        if name not in ids:
            raise DataError("class not in the file", file=path, field="categories", expected=name, got=", ".join(ids))
    return tuple(ids[name] for name in classes)


def _read_objects(
    path: Path, content: Any, images: Any, names: dict[int, str], labels: dict[int, int]
) -> dict[int, list[Object]]:
    """Return the objects of each image id."""
    objects: dict[int, list[Object]] = defaultdict(list)
    for i, record in enumerate(_get(path, content, "annotations", list)):
        where = f"annotations[{i}]"
        image, category = _get(path, record, "image_id", int, where), _get(path, record, "category_id", int, where)
        if image not in images:
            raise DataError("no such image", file=path, field=f"{where}.image_id", got=image)
        if category not in labels:
            expected = f"one of {', '.join(names[number] for number in labels)}"
            got = names.get(category, category)
            raise DataError("unknown class", file=path, field=f"{where}.category_id", expected=expected, got=got)
        box = _get(path, record, "bbox", list, where)
        if len(box) != 4 or not all(map(_is_number, box)):
            raise DataError("not a box", file=path, field=f"{where}.bbox", expected="[x, y, w, h]", got=repr(box)[:60])
        x, y, w, h = box
        objects[image].append((labels[category], [x, y, x + w, y + h], bool(record.get("iscrowd", 0))))
    return objects


def _annotate(path: Path, folder: Path, number: int, index: int, record: Any, objects: list[Object]) -> Annotations:
    image_path = folder / _get(path, record, "file_name", str, f"images[{index}]")
    if not image_path.is_file():
        raise DataError(f"image file not found, listed in {path}", file=image_path)
    sides = [record.get(key) for key in ("width", "height")]
    size = (sides[0], sides[1]) if all(isinstance(side, int) and side > 0 for side in sides) else None
    return annotate_image(image_path, number, objects, size, 0, path)
