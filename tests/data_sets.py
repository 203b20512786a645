"""One small set of annotated images, written in the layouts of labeling tools, and read or converted again."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from contracts import assert_dataset
from PIL import Image

from sppdet.config.data import DataConfig
from sppdet.data.conversion.convert import Conversion, convert_dataset
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.coco import read_coco
from sppdet.structures import Dataset

# Name of an image: class and box x1 y1 x2 y2 (0-based, half-open) of its objects. All images are 64 wide and 48 high.
SCENES: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = {
    "a": [("cat", (1, 2, 21, 32)), ("dog", (30, 5, 60, 40))],
    "b": [("dog", (0, 0, 64, 48))],
    "c": [],
    "d": [("cat", (33, 7, 40, 29))],
    "e": [("dog", (3, 11, 25, 47)), ("dog", (40, 20, 50, 31))],
    "f": [("cat", (5, 5, 17, 13))],
}
SIZE = (64, 48)
CLASSES = ("cat", "dog")
_NAMES = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
LABELS = f"<task><labels>{_NAMES}</labels></task>"  # of CVAT
PARTS = {"train": "abd", "val": "e", "test": "cf"}

# A COCO-format file: ids out of order and with gaps, a crowd, a box beyond the image, an image of unknown size.
COCO: dict[str, list[dict]] = {
    "images": [
        {"id": 42, "file_name": "b.jpg", "width": 100, "height": 80},
        {"id": 7, "file_name": "sub/a.jpg", "width": 100, "height": 80},
        {"id": 9, "file_name": "c.jpg"},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 20, 30, 40.5], "iscrowd": 0, "area": 1215},
        {"id": 2, "image_id": 42, "category_id": 3, "bbox": [0.5, 0, 1, 1], "iscrowd": 1, "area": 1},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [90, 70, 30, 30], "area": 900},
    ],
}


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (sum(path.stem.encode()) % 256, 90, 160)).save(path)  # of each name another


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def xml_of(name: str) -> str:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in SCENES[name]
    )
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
    return f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>"


def coco_of(names: Iterable[str], prefix: str = "") -> dict[str, list[dict]]:
    images = [
        {"id": i, "file_name": f"{prefix}{name}.png", "width": SIZE[0], "height": SIZE[1]}
        for i, name in enumerate(names)
    ]
    objects = [(i, *thing) for i, name in enumerate(names) for thing in SCENES[name]]
    annotations = [
        {"id": n, "image_id": i, "category_id": CLASSES.index(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, (i, label, (x1, y1, x2, y2)) in enumerate(objects)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def yolo_of(name: str) -> str:
    (width, height), lines = SIZE, []
    for label, (x1, y1, x2, y2) in SCENES[name]:
        numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{CLASSES.index(label)} " + " ".join(f"{number:.6f}" for number in numbers) + "\n")
    return "".join(lines)


def write_files(root: Path, images: str, labels: str, kind: str, names: Iterable[str] = SCENES) -> Path:
    """Images ROOT/IMAGES/NAME.png and labels ROOT/LABELS/NAME.xml or .txt."""
    for name in names:
        write_image(root / images / f"{name}.png")
        write_text(root / labels / f"{name}.{kind}", xml_of(name) if kind == "xml" else yolo_of(name))
    return root


def write_voc(root: Path) -> Path:
    write_files(root, "JPEGImages", "Annotations", "xml")
    for part, names in {**PARTS, "trainval": PARTS["train"] + PARTS["val"]}.items():
        write_text(root / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in names))
    return root


def write_coco(root: Path, images: str, file: str, names: Iterable[str] = SCENES, prefix: str = "") -> Path:
    """Images ROOT/IMAGES/NAME.png and their annotations ROOT/FILE."""
    for name in names:
        write_image(root / images / f"{name}.png")
    write_text(root / file, json.dumps(coco_of(list(names), prefix)))
    return root


def write_cvat(root: Path, shapes: str | None = None, meta: bool = True) -> Path:
    """The scenes, of which those of image c are these shapes."""
    images = ""
    for i, (name, scene) in enumerate(SCENES.items()):
        write_image(root / f"images/{name}.png")
        boxes = "".join(
            f'<box label="{label}" occluded="0" xtl="{x1}.00" ytl="{y1}.00" xbr="{x2}" ybr="{y2}" z_order="0"></box>'
            for label, (x1, y1, x2, y2) in scene
        )
        subset = "Test" if name in "ef" else "Train"
        inner = shapes if shapes and name == "c" else boxes
        images += f'<image id="{i}" name="{name}.png" subset="{subset}" width="64" height="48">{inner}</image>'
    head = f"<meta>{LABELS}</meta>" if meta else ""
    write_text(root / "annotations.xml", f"<annotations><version>1.1</version>{head}{images}</annotations>")
    return root


def write_parts(root: Path, layout: str) -> Path:
    """The set in its parts, in a layout that has them."""
    for part, names in PARTS.items():
        valid = "valid" if part == "val" else part
        match layout:
            case "roboflow xml":
                write_files(root, valid, valid, "xml", names)
            case "xml by kind":
                write_files(root, f"images/{part}", f"annotations/{part}", "xml", names)
            case "roboflow coco":
                write_coco(root, valid, f"{valid}/_annotations.coco.json", names)
            case "coco":
                write_coco(root, f"{part}2017", f"annotations/instances_{part}2017.json", names)
            case "coco images by part":
                write_coco(root, f"images/{part}", f"annotations/{part}.json", names, f"images/{part}/")
            case "roboflow yolo":
                write_files(root, f"{valid}/images", f"{valid}/labels", "txt", names)
            case "yolo":
                write_files(root, f"images/{part}", f"labels/{part}", "txt", names)
            case "yolo lists":
                write_files(root, "obj_data", "obj_data", "txt", names)
                write_text(root / f"{valid}.txt", "".join(f"data/obj_data/{name}.png\n" for name in names))
    if layout == "roboflow yolo":
        write_text(
            root / "data.yaml", "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat, dog]"
        )
    elif layout == "yolo":
        places = "path: /elsewhere/set\ntrain: images/train\nval: images/val\ntest: images/test\n"
        write_text(root / "set.yaml", f"{places}names:\n  0: cat\n  1: dog\n")
    elif layout == "yolo lists":
        write_text(root / "obj.names", "cat\ndog\n")
    return root


def write_whole(root: Path, layout: str) -> Path:
    """The set without parts."""
    match layout:
        case "voc without lists":
            return write_files(root, "JPEGImages", "Annotations", "xml")
        case "xml beside":
            return write_files(root, "", "", "xml")
        case "xml in folders of other names":
            return write_files(root, "my photographs", "their xml", "xml")
        case "coco beside":
            return write_coco(root, "", "labels.json")
        case "coco":
            return write_coco(root, "images/default", "annotations/instances_default.json")
        case "yolo beside":
            write_text(root / "classes.txt", "cat\ndog\n")
            return write_files(root, "", "", "txt")
        case "yolo":
            write_text(root / "labels/classes.txt", "cat\ndog\n")
            return write_files(root, "images", "labels", "txt")
        case "yolo with yaml":
            write_text(root / "data.yaml", "train: images\nnames: [cat, dog]\n")
            return write_files(root, "images", "labels", "txt")
    raise ValueError(layout)


def read_coco_content(images: Path, content: object, classes: Sequence[str] | None = None) -> Dataset:
    """The content of an annotation file next to a folder of images, written and read."""
    path = images.parent / "some.json"
    path.write_text(json.dumps(content))
    return read_coco(images, path, classes)


def read_scenes(root: Path, split: str = "trainval", **options) -> Dataset:
    dataset = read_dataset(DataConfig(root=str(root), split=split, **options))
    assert_dataset(dataset)
    return dataset


def stems(dataset: Dataset) -> str:
    return "".join(image.path.stem for image in dataset.images)


def assert_scenes(dataset: Dataset) -> None:
    """The boxes and classes of each image are those that were written, and its file is there."""
    assert dataset.classes == CLASSES
    for image in dataset.images:
        assert image.path.is_file()
        found = [
            (dataset.classes[label - 1], tuple(box))
            for label, box in zip(image.labels, image.boxes.tolist(), strict=True)
        ]
        assert found == SCENES[image.path.stem]


def convert(source: Path, target: str, **options) -> Conversion:
    """Convert to a folder next to the source, of the name of the target."""
    return convert_dataset(DataConfig(root=str(source)), target, source.parent / target, **options)


def image_files(root: Path) -> list[str]:
    """All that are not hidden, at any depth."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            f"{folder}/{name}" for name in names if name.endswith((".png", ".jpg", ".bmp")) and not name.startswith(".")
        ]
    return [name for name in found if name.endswith((".png", ".jpg", ".bmp"))]


def count_xml(root: Path) -> int:
    """Objects of the XML files in VOC layout that are complete."""
    texts = [path.read_text() for path in (root / "Annotations").glob("*.xml")]
    return sum(text.count("<object>") for text in texts if text.rstrip().endswith("</annotation>"))
