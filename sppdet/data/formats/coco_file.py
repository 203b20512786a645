"""The content of one COCO annotation file: its categories, images and objects, checked."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sppdet.data.formats.coco_values import get, get_id, is_number, read_box
from sppdet.data.formats.units import Sides, check_pixels, check_sides
from sppdet.data.formats.values import read_flag, whole_size
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedObject
from sppdet.errors import DataError
from sppdet.files.atomic import read_json
from sppdet.structures import ImageId


class ImageEntry(NamedTuple):
    """An image of a file. size: (width, height), None if not given. field: place of the width."""

    name: str
    size: tuple[int, int] | None
    field: str


class CocoFile:
    """The content of an annotation file: categories and images by id, and the objects of each image id.

    counts: number of objects of each image id, also malformed ones. total: that of all. fault: kind of the error for
    which no object can be used, "" if there is none.
    """

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        content = read_json(path)
        categories = self._read_categories(content)
        self.unusable: set[ImageId] = set()  # images with an error
        self.images = self._read_images(content, problems)
        self.objects: dict[ImageId, list[AnnotatedObject]] = defaultdict(list)
        self.counts, self.total, self.fault = Counter[ImageId](), 0, ""
        self._read_objects(content, categories, problems)
        used = {thing.name for objects in self.objects.values() for thing in objects}
        roots = {above for name, above in categories.values() if above != name} - used
        self.categories = {number: name for number, (name, _) in categories.items() if name not in roots}

    def _read_categories(self, content: Any) -> dict[int, tuple[str, str]]:
        """Return the name and the supercategory of each id."""
        categories = {}
        for i, record in enumerate(get(self.path, content, "categories", list)):
            where = f"categories[{i}]"
            number = get_id(self.path, record, "id", where, numbers_only=True)
            categories[number] = (
                get(self.path, record, "name", str, where).strip(),
                str(record.get("supercategory", "")),
            )
        names = {name for name, _ in categories.values()}
        if not categories or len(names) < len(content["categories"]):
            raise DataError("ids and names must be unique, at least one", file=self.path, field="categories")
        return categories

    def _read_images(self, content: Any, problems: Problems) -> dict[ImageId, ImageEntry]:
        images: dict[ImageId, ImageEntry] = {}
        for i, record in enumerate(get(self.path, content, "images", list)):
            with problems.collect("malformed image entry"):
                where = f"images[{i}]"
                number = get_id(self.path, record, "id", where)
                if number in images:
                    raise DataError("id used twice", file=self.path, field=f"{where}.id", got=number)
                self.unusable.add(number)
                sides = [record.get(key) for key in ("width", "height")]
                size = whole_size(*sides) if all(map(is_number, sides)) else None
                name = get(self.path, record, "file_name", str, where)
                images[number] = ImageEntry(name, size, f"{where}.width")
                self.unusable.remove(number)
        return images

    def _read_objects(self, content: Any, categories: dict[int, tuple[str, str]], problems: Problems) -> None:
        given = []
        records = get(self.path, content, "annotations", list)
        self.total = len(records)
        for i, record in enumerate(records):
            with problems.collect("malformed object"):
                where = f"annotations[{i}]"
                image = get_id(self.path, record, "image_id", where)
                if image in self.unusable:
                    continue
                if image not in self.images:
                    reason = "no such image: add it to images, or remove the annotation"
                    raise DataError(reason, file=self.path, field=f"{where}.image_id", got=image)
                self.counts[image] += 1
                category = get_id(self.path, record, "category_id", where)
                if category not in categories:
                    names, field = tuple(name for name, _ in categories.values()), f"{where}.category_id"
                    raise DataError("unknown class", file=self.path, field=field, expected=names, got=category)
                box = read_box(self.path, record, where)
                if record.get("bbox"):
                    given.append(_sides(record["bbox"], self.images[image].size, self.path, f"{where}.bbox"))
                name, crowd = categories[int(category)][0], self._read_crowd(record, where, problems)
                self.objects[image].append(AnnotatedObject(name, box, crowd, f"{where}.category_id"))
        expected = "[x, y, w, h] in pixels"
        try:
            check_pixels([box.numbers for box in given], [box.field for box in given], self.path, expected)
            check_sides(given, expected)
        except DataError as error:
            problems.error("units", error)
            self.fault = "units"

    def _read_crowd(self, record: Any, where: str, problems: Problems) -> bool:
        flag = read_flag(record.get("iscrowd"))
        if flag is None:
            message = f"neither 0 nor 1 but {str(record['iscrowd'])[:60]!r}, taken as 0"
            problems.warn("iscrowd", message, self.path, f"{where}.iscrowd")
        return bool(flag)


def _sides(box: Sequence[float], size: tuple[int, int] | None, path: Path, field: str) -> Sides:
    if size is None:
        return Sides(box, True, False, path, field)
    (x, y, w, h), (width, height) = box, size
    leaves = x + w > width * 1.01 + 1 or y + h > height * 1.01 + 1
    return Sides(box, x < w <= width + 1 and y < h <= height + 1, leaves, path, field)
