"""torchvision's VOCDetection and CocoDetection as annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.errors import DataError
from sppdet.structures.annotations import Annotations, ImageId
from sppdet.structures.valid_boxes import Object, annotate_image

if TYPE_CHECKING:
    from torchvision.datasets import CocoDetection, VOCDetection

Classes = tuple[str, ...]
Parts = tuple[Classes, tuple[Annotations, ...], tuple[int, ...]]  # classes, images and category ids


def convert_voc(source: VOCDetection, classes: Sequence[str] | None) -> Parts:
    """Corners (xmin, ymin, xmax, ymax), 1-based and inclusive, become (xmin - 1, ymin - 1, xmax, ymax)."""
    from defusedxml.ElementTree import parse

    files = [Path(file) for file in source.annotations]
    records = [source.parse_voc_xml(parse(file).getroot())["annotation"] for file in files]
    names = tuple(classes or sorted({thing["name"] for record in records for thing in record.get("object", ())}))
    images = []
    for image, file, record in zip(source.images, files, records, strict=True):
        objects, size = [], record.get("size")
        for thing in record.get("object", ()):
            xmin, ymin, xmax, ymax = (float(thing["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            objects.append((thing["name"], [xmin - 1, ymin - 1, xmax, ymax], int(thing.get("difficult", 0)) != 0))
        sides = (int(size["width"]), int(size["height"])) if size else None
        labeled = _label(objects, names, file.stem, file)
        images.append(annotate_image(Path(image), file.stem, labeled, sides, 1, file))
    return names, tuple(images), ()


def convert_coco(source: CocoDetection, classes: Sequence[str] | None) -> Parts:
    """bbox [x, y, w, h] becomes (x, y, x + w, y + h); image and category ids are kept; `iscrowd` becomes difficult."""
    root, coco = Path(source.root), source.coco
    category_names = {number: record["name"] for number, record in sorted(coco.cats.items())}
    ids = {name: number for number, name in category_names.items()}
    names = tuple(classes or ids)
    for name in names:
        if name not in ids:
            raise DataError("class not in the file", file=root, field="categories", expected=name, got=", ".join(ids))
    images = []
    for number in source.ids:
        record = coco.imgs[number]
        objects = []
        for thing in coco.imgToAnns[number]:
            x, y, w, h = thing["bbox"]
            crowd = bool(thing.get("iscrowd", 0))
            objects.append((category_names[thing["category_id"]], [x, y, x + w, y + h], crowd))
        size = (record["width"], record["height"]) if record.get("width") and record.get("height") else None
        labeled = _label(objects, names, number, root)
        images.append(annotate_image(root / record["file_name"], number, labeled, size, 0, root))
    return names, tuple(images), tuple(ids[name] for name in names)


def _label(objects: list[tuple[str, list[float], bool]], classes: Classes, image: ImageId, file: Path) -> list[Object]:
    """Replace the names of the objects' classes with labels. Raises DataError for an unknown class."""
    for name, _, _ in objects:
        if name not in classes:
            raise DataError("unknown class", file=file, field=f"image {image}", expected=tuple(classes), got=name)
    return [(classes.index(name) + 1, box, difficult) for name, box, difficult in objects]
