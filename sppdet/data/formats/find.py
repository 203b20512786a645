"""The format of a data set and its splits, found by looking at its folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sppdet.config.data import DataConfig
from sppdet.data.files import list_folders, list_images
from sppdet.data.formats.coco import CocoSource, find_coco
from sppdet.data.formats.cvat import find_cvat
from sppdet.data.formats.voc import PARTS, VocSource, find_voc
from sppdet.data.formats.xml_folder import find_xml
from sppdet.data.formats.yolo import find_yolo
from sppdet.data.problems import Problems
from sppdet.data.records import Records
from sppdet.errors import DataError
from sppdet.wording import counted


class Source(Protocol):
    """A data set in one format. splits: the names of its own splits, none if it has none. least_side: pixels that the
    sides of a box have to exceed."""

    @property
    def format(self) -> str: ...
    @property
    def root(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def splits(self) -> tuple[str, ...]: ...
    @property
    def least_side(self) -> float: ...
    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read these of its splits, or all images. Raises DataError with the field "split" for others."""

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the names of labels 1..K, the same for all splits. Raises DataError if there are none."""


FINDERS: dict[str, Callable[[Path, str | None], Source | None]] = {
    "voc": find_voc,
    "coco": find_coco,
    "yolo": lambda root, _: find_yolo(root),
    "cvat": lambda root, _: find_cvat(root),
    "xml": lambda root, _: find_xml(root),
}

FORMATS = {
    "voc": "VOC layout",
    "coco": "COCO format",
    "yolo": "YOLO format",
    "cvat": "CVAT for images",
    "xml": "images with VOC XML",
}

EXPECTED = {
    "voc": f"folders {', '.join(PARTS)}",
    "coco": "JSON with images and annotations",
    "yolo": "text files of labels",
    "cvat": "annotations.xml",
    "xml": "VOC XML files next to images",
}


def find_source(config: DataConfig) -> Source:
    """Return the data set that the configuration names, of the first format that fits if it does not name one.

    Raises DataError if the folder is missing, or if there is none of its format in it.
    """
    root = Path(config.root)
    if config.annotations:
        return CocoSource(root, {"": Path(config.annotations)})
    if root.is_file():
        if root.suffix.lower() == ".json":
            return CocoSource(root.parent, {"": root})
        root = root.parent if root.suffix.lower() in (".yaml", ".yml") else root
    if not root.is_dir():
        raise DataError("folder not found", file=root)
    if config.format == "voc":
        return VocSource(root, config.year)  # says which part is missing
    formats = list(FINDERS) if config.format == "auto" else [config.format]
    for folder in _descend(root):
        for name in formats:
            source = FINDERS[name](folder, config.year)
            if source is not None:
                return source
    expected = "; ".join(f"{name}: {EXPECTED[name]}" for name in formats)
    raise DataError("no annotations found", file=root, expected=expected, got=counted(len(list_images(root)), "image"))


def _descend(root: Path) -> list[Path]:
    """Return the folder and, as archives are unpacked, the folders below as long as there is a single one."""
    folders = [root]
    while len(inside := list_folders(folders[-1])) == 1:
        folders.append(inside[0])
    return folders
