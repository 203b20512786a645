"""Every image on disk and every object in the annotation files is counted once, with what became of it."""

import json
from collections import Counter
from pathlib import Path

import pytest
from accounts import account_of, assert_adds_up, config_of, rows_of
from data_sets import SIZE, coco_of, count_xml, write_image, write_parts, write_text, write_voc

from sppdet.training.account import HELD_OUT, NO_SPLIT, OTHER, TRAINED, UNREADABLE


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


# Objects of one image: a usable and a difficult one, one of another class, one that is malformed, and four boxes that
# are skipped. Corners as in VOC XML.
MIXED = [
    ("cat", (2, 3, 21, 32), 0),
    ("dog", (2, 3, 21, 32), 1),
    ("bird", (2, 3, 21, 32), 0),
    ("", (2, 3, 21, 32), 0),
    ("cat", (80, 3, 90, 32), 0),
    ("cat", (21, 3, 2, 32), 0),
    ("cat", (21, 3, 20, 32), 0),
    ("dog", (2, 3, "nan", 32), 0),
]
SKIPPED = {f"box {reason}": 1 for reason in ("outside the image", "reversed", "no area", "not finite")}


def thing(label: str, corners: tuple, difficult: int = 0) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def xml_with(*objects: str, width: int = SIZE[0]) -> str:
    size = f"<size><width>{width}</width><height>{SIZE[1]}</height></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def voc(tmp_path) -> Path:
    """Of a to f, a, b and d are train, e is val, c and f are test."""
    root = write_voc(tmp_path / "voc")
    box = thing("cat", (2, 3, 21, 32))
    texts = {
        "broken": xml_with(box, box)[:-20],
        "resized": xml_with(box, width=640),
        "units": xml_with(thing("cat", (0.1, 0.1, 0.5, 0.5)), box.replace("<name>cat</name>", "")),
        "unreadable": xml_with(box, box),
        "missing": xml_with(box, box, box),  # its image
        "mixed": xml_with(*(thing(*each) for each in MIXED)),
        "unlisted": xml_with(box),
        "alone": xml_with(box, box),
    }
    for name, text in texts.items():
        write_text(root / f"Annotations/{name}.xml", text)
    for name in {*texts, "background", "photo"} - {"missing", "alone"}:
        write_image(root / f"JPEGImages/{name}.png")
    truncate(root / "JPEGImages/unreadable.png")
    for name in ("JPEGImages/unlisted.bmp", "JPEGImages/.hidden.png", "SegmentationClass/a.png", ".trash/a.png"):
        write_image(root / name)
    listed = ("broken", "resized", "units", "unreadable", "missing", "mixed", "background")
    for part in ("train", "trainval"):
        file = root / f"ImageSets/Main/{part}.txt"
        write_text(file, file.read_text() + "".join(f"{name}\n" for name in listed))
    return root


def test_voc_layout(voc, tmp_path):
    account = account_of(config_of(voc, tmp_path / "run"))
    assert rows_of(account) == {
        TRAINED: (5, 4 + len(MIXED)),
        HELD_OUT: (1, 2),
        "unusable file": (1, 3),  # the image of the broken file, the objects of the one without an image
        "annotated size": (1, 1),
        "units": (1, 2),
        UNREADABLE: (1, 2),
        "split test": (2, 1),
        NO_SPLIT: (2, 1),
        "annotation without an image": (0, 2),
        OTHER: (2, 0),
    }
    assert_adds_up(account, voc, count_xml(voc))
    used, held_out = account.parts.values()
    assert used == (
        5,
        1,
        Counter(cat=3, dog=2),
        Counter({"difficult": 1, "of class bird": 1, **SKIPPED, "malformed object": 1}),
    )
    assert held_out == (1, 0, Counter(dog=2), Counter())


def test_coco_format(tmp_path):
    root = write_parts(tmp_path / "coco", "coco")
    file = root / "annotations/instances_train2017.json"
    content = coco_of("abd")
    content["categories"].append({"id": 3, "name": "bird"})
    names = ("mixed", "resized", "unreadable", "missing", "twice")
    content["images"] += [{"id": 10 + i, "file_name": f"{name}.png"} for i, name in enumerate(names)]
    content["images"][4] |= {"width": 640, "height": 48}
    content["images"].append({"id": 14, "file_name": "alone.png"})  # an id that is taken
    corners = [("", 0, 1, 19), *((label, x1, y1, x2, y2, crowd) for label, (x1, y1, x2, y2), crowd in MIXED)][1:]
    numbers = {"cat": 1, "dog": 2, "bird": 3, "": "none"}
    content["annotations"] += [
        {
            "image_id": 10,
            "category_id": numbers[label],
            "bbox": [x1 - 1, y1 - 1, float(x2) - x1 + 1, y2 - y1 + 1],
            "iscrowd": crowd,
        }
        for label, x1, y1, x2, y2, crowd in corners
    ]
    box = {"category_id": 1, "bbox": [1, 2, 20, 30]}
    content["annotations"] += [{"image_id": i, **box} for i in (11, 12, 12, 13, 13, 13, 99, None)]
    write_text(file, json.dumps(content))
    for name in ("mixed", "resized", "unreadable", "twice", "alone"):
        write_image(root / f"train2017/{name}.png")
    truncate(root / "train2017/unreadable.png")
    write_image(root / "elsewhere/a.png")
    account = account_of(config_of(root, tmp_path / "run"))
    assert rows_of(account) == {
        TRAINED: (5, 4 + len(MIXED)),
        HELD_OUT: (1, 2),
        "annotated size": (1, 1),
        UNREADABLE: (1, 2),
        "image not found": (0, 3),
        "object of no image": (0, 2),
        "split test": (2, 1),
        OTHER: (2, 0),
    }
    objects = sum(len(json.loads(path.read_text())["annotations"]) for path in root.glob("annotations/*.json"))
    assert_adds_up(account, root, objects)
    others = Counter({"difficult": 1, "of class bird": 1, **SKIPPED, "malformed object": 1})
    assert account.parts[TRAINED] == (5, 1, Counter(cat=3, dog=2), others)


def yolo_lines(root: Path) -> int:
    """Objects of all label files in UTF-8."""
    count = 0
    for path in root.glob("*/*/*.txt"):
        try:
            count += sum(bool(line.strip()) for line in path.read_text().splitlines())
        except UnicodeDecodeError:
            continue
    return count


@pytest.fixture
def yolo(tmp_path) -> Path:
    root = write_parts(tmp_path / "yolo", "yolo")
    names = root / "set.yaml"
    write_text(names, names.read_text() + "  2: bird\n")
    box = "0 0.5 0.5 0.2 0.2\n"
    mixed = f"{box}1 0.5 0.5 0.1 0.1\n\n2 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n0 1\n"
    mixed += "0 1.5 0.5 0.2 0.2\n0 0.5 0.5 -0.2 0.2\n0 0.5 0.5 0 0.2\n1 nan 0.5 0.2 0.2\n"
    for name, text in {"mixed": mixed, "unreadable": 2 * box, "headless": box}.items():
        write_text(root / f"labels/train/{name}.txt", text)
    (root / "labels/train/latin.txt").write_bytes(b"0 0.5 0.5 0.2 0.2\xe9\n")
    write_text(root / "labels/val/alone.txt", 3 * box)
    for name in ("mixed", "unreadable", "headless", "latin", "background"):
        write_image(root / f"images/train/{name}.png")
    truncate(root / "images/train/unreadable.png")
    (root / "images/train/headless.png").write_bytes(b"text")
    write_image(root / "images/extra/none.png")
    write_image(root / "images/extra/stray.png")
    write_text(root / "labels/extra/stray.txt", box)
    write_image(root / "preview/photo.jpg")
    return root


def test_yolo_format(yolo, tmp_path):
    account = account_of(config_of(yolo, tmp_path / "run"))
    assert rows_of(account) == {
        TRAINED: (5, 4 + 9),
        HELD_OUT: (1, 2),
        "unusable file": (2, 1),
        UNREADABLE: (1, 2),
        "split test": (2, 1),
        NO_SPLIT: (2, 1),
        "annotation without an image": (0, 3),
        OTHER: (1, 0),
    }
    assert_adds_up(account, yolo, yolo_lines(yolo))
    others = Counter({"of class bird": 1, **SKIPPED, "malformed object": 3})  # NaN is no number in a label file
    del others["box not finite"]
    assert account.parts[TRAINED] == (5, 1, Counter(cat=3, dog=3), others)


def test_cvat_images(tmp_path):
    box = '<box label="{}" xtl="1" ytl="2" xbr="{}" ybr="30"/>'
    cat, bird, malformed = (box.format(*each) for each in (("cat", 20), ("bird", 20), ("dog", "?")))
    shapes = {
        ("a", "Train"): 2 * cat + bird + malformed,
        ("b", "Train"): '<polygon label="dog" points="1,2;20,2;5,40"/>',
        ("c", "Train"): cat,
        ("e", "Validation"): cat,
        ("f", "Test"): cat,
        ("g", ""): cat,
        ("missing", "Train"): 2 * cat,
    }
    for name, _ in shapes:
        write_image(tmp_path / f"data/images/{name}.png")
    (tmp_path / "data/images/missing.png").unlink()
    write_image(tmp_path / "data/images/photo.png")
    images = "".join(
        f'<image name="{name}.png" subset="{subset}" width="{63 + (name == "c") * 9}" height="48">{content}</image>'
        for (name, subset), content in shapes.items()
    )
    write_text(tmp_path / "data/annotations.xml", f"<annotations>{images}</annotations>")
    account = account_of(config_of(tmp_path / "data", tmp_path / "run"))
    assert rows_of(account) == {
        TRAINED: (2, 5),
        HELD_OUT: (1, 1),
        "annotated size": (1, 1),
        "malformed image entry": (0, 2),
        "split test": (1, 1),
        NO_SPLIT: (1, 1),
        OTHER: (1, 0),
    }
    assert_adds_up(account, tmp_path / "data", images.count("label="))
