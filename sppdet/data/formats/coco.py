"""Data sets in COCO format: a folder of images and JSON files of annotations."""

from collections import defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from sppdet.data.build import build_dataset
from sppdet.data.files import is_hidden
from sppdet.data.formats.coco_values import get, get_id, is_number, read_box
from sppdet.data.formats.image_index import ImageIndex
from sppdet.data.formats.source import Source
from sppdet.data.formats.units import Sides, check_pixels, check_sides
from sppdet.data.formats.values import read_flag, whole_size
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage, AnnotatedObject, Records
from sppdet.data.splits import check_splits, split_word
from sppdet.errors import DataError
from sppdet.files.atomic import read_json
from sppdet.structures import Dataset, ImageId


def read_coco(
    images_folder: str | PathLike[str], annotation_file: str | PathLike[str], classes: Sequence[str] | None = None
) -> Dataset:
    """Read all images of an annotation file, in its order, and their objects. Image and category ids are kept.

    classes: names of labels 1..K; by default all categories in the order of their ids, without a root category: one
    that has no objects and is the supercategory of others.
    bbox [x, y, w, h] becomes (x, y, x + w, y + h), clipped to the image; without it, the box around the segmentation is
    taken. `iscrowd` becomes difficult. Unusable boxes are skipped and logged (see `keep_valid_boxes`).
    Raises DataError that names file and field if anything is missing, malformed or of an unknown class.
    """
    problems = Problems()
    source = CocoSource(Path(images_folder), {"": Path(annotation_file)})
    records = source.read(None, problems)
    known = records.classes or ()
    for name in classes or ():
        if name not in known:
            got = ", ".join(known)
            raise DataError("class not in the file", file=annotation_file, field="categories", expected=name, got=got)
    dataset = build_dataset(Path(annotation_file).stem, records, classes or known, source.least_side, problems)
    problems.log()
    return dataset


class CocoSource(Source):
    """Annotation files by the names of their splits, and the images below a folder."""

    format, title, expected = "coco", "COCO format", "JSON with images and annotations"

    def __init__(self, root: Path, files: dict[str, Path]) -> None:
        """Raises DataError if there is no such folder. A single file without the name of a split has the name ""."""
        if not root.is_dir():
            raise DataError("folder not found", file=root)
        super().__init__(root)
        self.files = files
        self.splits = tuple(split for split in files if split)
        self._index: ImageIndex | None = None

    @classmethod
    def find(cls, root: Path, year: str | None, /) -> "CocoSource | None":
        """Return the data set of the annotation files in a folder or up to two folders below; None if there are none.

        Files named instances_* are taken if there are any. year: selects the files with it in their names.
        """
        patterns = ("*.json", "*/*.json", "*/*/*.json")
        files = [path for pattern in patterns for path in sorted(root.glob(pattern)) if _is_visible(root, path)]
        files = [path for path in files if path.name.startswith("instances_")] or files
        files = [path for path in files if year is None or str(year) in path.name] or files
        files = [path for path in files if _is_annotation_file(path)]
        if not files:
            return None
        splits: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            folder = path.parent.name if path.parent != root else ""
            splits[split_word(path.stem) or split_word(folder) or ""].append(path)
        if len(splits) > 1:
            splits.pop("", None)
        for paths in splits.values():
            if len(paths) > 1:
                got = ", ".join(str(path.relative_to(root)) for path in paths)
                reason = "holds several annotation files: give one as data.annotations, or the year"
                raise DataError(reason, file=root, got=got)
        return cls(root, {split: paths[0] for split, paths in splits.items()})

    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of their files; None: of all."""
        check_splits(splits, self.splits, self.root)
        parts = [(split, _File(self.files[split], problems)) for split in (self.files if splits is None else splits)]
        ids: dict[str, int] = {}
        images: dict[ImageId, AnnotatedImage] = {}
        for split, part in parts:
            taken = set(ids.values())
            for number, name in sorted(part.categories.items()):
                if name not in ids:
                    ids[name] = number if number not in taken else max([*ids.values(), *part.categories]) + 1
            for image in self._annotate(part, problems):
                key = image.id if image.id not in images else f"{split}/{image.id}"  # each file may count from 1
                images[key] = image._replace(id=key)
        return Records(list(images.values()), tuple(ids), ids)

    def _annotate(self, file: "_File", problems: Problems) -> list[AnnotatedImage]:
        """Return the images of a file, with the files that they are found in."""
        images: list[AnnotatedImage] = []
        names: dict[Path, str] = {}
        for number, entry in file.images.items():
            with problems.collect("image not found"):
                path = self._find_image(file.path, entry.name)
                if names.setdefault(path, entry.name) != entry.name:
                    message = (
                        f"image file not found, unless it is {path}, which {names[path]} is, listed in {file.path}"
                    )
                    raise DataError(message, file=self.root / entry.name)
                objects = tuple(file.objects[number])
                images.append(AnnotatedImage(number, path, file.path, entry.size, objects, entry.field))
        return images

    def _find_image(self, file: Path, name: str) -> Path:
        path = self.root / name
        if name and path.is_file():
            return path
        if self._index is None:
            self._index = ImageIndex(self.root)
        found = self._index.find(name, file)
        if found is None:
            raise DataError(f"image file not found, listed in {file}", file=path)
        return found


class _Entry(NamedTuple):
    """An image of a file. size: (width, height), None if not given. field: place of the width."""

    name: str
    size: tuple[int, int] | None
    field: str


class _File:
    """The content of an annotation file: categories and images by id, and the objects of each image id."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path = path
        content = read_json(path)
        categories = self._read_categories(content)
        self.images = self._read_images(content, problems)
        self.objects: dict[ImageId, list[AnnotatedObject]] = defaultdict(list)
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

    def _read_images(self, content: Any, problems: Problems) -> dict[ImageId, _Entry]:
        images: dict[ImageId, _Entry] = {}
        for i, record in enumerate(get(self.path, content, "images", list)):
            with problems.collect("malformed image entry"):
                where = f"images[{i}]"
                number = get_id(self.path, record, "id", where)
                if number in images:
                    raise DataError("id used twice", file=self.path, field=f"{where}.id", got=number)
                sides = [record.get(key) for key in ("width", "height")]
                size = whole_size(*sides) if all(map(is_number, sides)) else None
                name = get(self.path, record, "file_name", str, where)
                images[number] = _Entry(name, size, f"{where}.width")
        return images

    def _read_objects(self, content: Any, categories: dict[int, tuple[str, str]], problems: Problems) -> None:
        given = []
        for i, record in enumerate(get(self.path, content, "annotations", list)):
            with problems.collect("malformed object"):
                where = f"annotations[{i}]"
                image = get_id(self.path, record, "image_id", where)
                category = get_id(self.path, record, "category_id", where)
                if image not in self.images:
                    raise DataError("no such image", file=self.path, field=f"{where}.image_id", got=image)
                if category not in categories:
                    expected = f"one of {', '.join(name for name, _ in categories.values())}"
                    field = f"{where}.category_id"
                    raise DataError("unknown class", file=self.path, field=field, expected=expected, got=category)
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
            self.images.clear()

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


def _is_visible(root: Path, path: Path) -> bool:
    return path.is_file() and not any(is_hidden(part) for part in path.relative_to(root).parts)


def _is_annotation_file(path: Path) -> bool:
    """Return True for JSON with a list of images, without reading it as JSON, which takes long."""
    data = path.read_bytes()
    text = data.decode("utf-16", "ignore").encode() if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data
    return b'"images"' in text and b'"annotations"' in text
