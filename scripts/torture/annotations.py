"""Annotations in all formats, the lists and names next to them, and folders of classes."""

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from contracts import assert_dataset
from data_sets import write_coco, write_cvat, write_files, write_image, write_text, write_voc

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import check_data
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.image_folder import read_image_folder
from sppdet.data.formats.values import MOST_PIXELS
from sppdet.data.problems import Problems
from sppdet.errors import SppdetError
from torture.mutate import change_json, change_lines, change_xml
from torture.target import Case, Target

WAYS = ("strict", "lenient", "check")
Change = Callable[[bytes, random.Random], bytes]
YAML = "path: ../x\ntrain: images\nval: images\nnames: [cat, dog]\n"
DIVISION = '{"seed": 0, "fractions": [0.5, 0.2, 0.3], "train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}'


def write_yolo(root: Path) -> Path:
    write_text(root / "data.yaml", YAML)
    return write_files(root, "images", "labels", "txt")


def write_named_yolo(root: Path) -> Path:
    write_text(root / "obj.names", "cat\ndog\n")
    write_text(root / "train.txt", "".join(f"data/obj_data/{name}.png\n" for name in "abd"))
    return write_files(root, "obj_data", "obj_data", "txt")


def write_divided(root: Path) -> Path:
    write_text(root / "split.json", DIVISION)
    return write_files(root, "", "", "xml")


# What writes a set, the file of it that is changed, and how.
FILES: dict[str, tuple[Callable[[Path], Path], str, Change]] = {
    "voc": (write_voc, "Annotations/a.xml", change_xml),
    "voc-list": (write_voc, "ImageSets/Main/train.txt", change_lines),
    "coco": (
        lambda root: write_coco(root, "images", "annotations/instances.json"),
        *("annotations/instances.json", change_json),
    ),
    "yolo": (write_yolo, "labels/a.txt", change_lines),
    "yolo-yaml": (write_yolo, "data.yaml", change_lines),
    "yolo-names": (write_named_yolo, "obj.names", change_lines),
    "yolo-list": (write_named_yolo, "train.txt", change_lines),
    "cvat": (write_cvat, "annotations.xml", change_xml),
    "xml": (lambda root: write_files(root, "", "", "xml"), "a.xml", change_xml),
    "split": (write_divided, "split.json", change_json),
}


def targets() -> list[Target]:
    return [
        *(Target(name, lambda folder, name=name: _prepare(folder, name)) for name in FILES),
        Target("image-folder", _prepare_folders),
    ]


def _prepare(folder: Path, name: str) -> Case:
    write, changed, change = FILES[name]
    file = write(folder / "set") / changed
    original = file.read_bytes()
    division = str(file) if name == "split" else None

    def read(data: bytes) -> None:
        file.write_bytes(data)
        read_set(folder / "set", [WAYS[len(data) % len(WAYS)]], division)

    return Case(lambda rng: change(original, rng), read)


def read_set(root: Path, ways: Sequence[str] = WAYS, division: str | None = None) -> None:
    """Read strictly and not, and check; all that may come is a data set or an error that names a file."""
    errors = []
    config = DataConfig(root=str(root), split="train", split_file=division)
    for way in ways:
        try:
            if way == "check":
                check_data(config, ProposalConfig(), decode=False)
                continue
            dataset = read_dataset(config, problems=Problems(strict=way == "strict"))
            assert_dataset(dataset)
            assert all(
                float(image.boxes.abs().amax()) <= 2 * MOST_PIXELS for image in dataset.images if len(image.boxes)
            )
        except SppdetError as error:
            errors.append(error)
    assert all((error.file or error.field) and "\n" not in error.message for error in errors)
    if errors:
        raise errors[0]


def _prepare_folders(folder: Path) -> Case:
    """Names of images in folders of classes, a line each; the images are links to one."""
    write_image(folder / "image.png")
    names = b"cat/a.png\ncat/b.jpg\ndog/c.png\ndog/sub/d.png"

    def read(data: bytes) -> None:
        shutil.rmtree(folder / "set", ignore_errors=True)
        (folder / "set").mkdir()
        for name in data.split(b"\n"):
            parts = [part[:200] for part in name.replace(b"\0", b"").split(b"/") if part not in (b"", b".", b"..")]
            place = Path(folder, "set", *(part.decode(errors="surrogateescape") for part in parts))
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.hardlink_to(folder / "image.png")
            except OSError:  # the name is taken, or too long
                continue
        found = read_image_folder(folder / "set")
        assert len(found.files) == len(found.labels) == len(set(found.files)) > 0
        assert found.labels.tolist() == [
            found.classes.index(file.relative_to(folder / "set").parts[0]) for file in found.files
        ]

    return Case(lambda rng: change_lines(names, rng), read)
