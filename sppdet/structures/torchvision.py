"""torchvision's VOCDetection and CocoDetection as annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.errors import DataError
from sppdet.structures.annotations import Annotations, ImageId
from sppdet.structures.valid_boxes import annotate_image

if TYPE_CHECKING:
    from torchvision.datasets import CocoDetection, VOCDetection

Parts = tuple[tuple[str, ...], tuple[Annotations, ...], tuple[int, ...]]  # classes, images and category ids


def convert_voc(source: VOCDetection, classes: Sequence[str] | None) -> Parts:
    """Corners (xmin, ymin, xmax, ymax), 1-based and inclusive, become (xmin - 1, ymin - 1, xmax, ymax)."""
    from defusedxml.ElementTree import parse

    files = [Path(file) for file in source.annotations]
    records = [source.parse_voc_xml(parse(file).getroot())["annotation"] for file in files]
    names = tuple(classes or sorted({thing["name"] for record in records for thing in record.get("object", ())}))
    images = []
    for image, file, record in zip(source.images, files, records, strict=True):
        objects = [
            (thing["name"], _voc_box(thing["bndbox"]), int(thing.get("difficult", 0)) != 0)
            for thing in record.get("object", ())
        ]
        size = record.get("size")
        sides = (int(size["width"]), int(size["height"])) if size else None
        images.append(_annotate(Path(image), file.stem, objects, names, sides, 1, file))
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
            box, crowd = [x, y, x + w, y + h], bool(thing.get("iscrowd", 0))
            objects.append((category_names[thing["category_id"]], box, crowd))
        size = (record["width"], record["height"]) if record.get("width") and record.get("height") else None
        images.append(_annotate(root / record["file_name"], number, objects, names, size, 0, root))
    return names, tuple(images), tuple(ids[name] for name in names)


def _voc_box(corners: dict[str, Any]) -> list[float]:
    xmin, ymin, xmax, ymax = (float(corners[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    return [xmin - 1, ymin - 1, xmax, ymax]


def _annotate(
    image: Path,
    image_id: ImageId,
    objects: Sequence[tuple[str, list[float], bool]],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
    least_side: float,
    file: Path,
) -> Annotations:
    """Annotate an image with objects (name of the class, box, difficult). Raises DataError for an unknown class."""
    unknown = [name for name, _, _ in objects if name not in classes]
    if unknown:
        expected = f"one of {', '.join(classes)}"
        raise DataError("unknown class", file=file, field=f"image {image_id}", expected=expected, got=unknown[0])
    labeled = [(classes.index(name) + 1, box, difficult) for name, box, difficult in objects]
    return annotate_image(image, image_id, labeled, size, least_side, file)
