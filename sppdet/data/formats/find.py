"""The format of a data set and its splits, found by looking at its folder."""

from pathlib import Path

from sppdet.config.data import DataConfig
from sppdet.data.files import list_folders, list_images
from sppdet.data.formats.coco import CocoSource
from sppdet.data.formats.cvat import CvatSource
from sppdet.data.formats.source import Source
from sppdet.data.formats.voc import VocSource
from sppdet.data.formats.xml_folder import XmlSource
from sppdet.data.formats.yolo import YoloSource
from sppdet.errors import DataError
from sppdet.wording import counted

# In the order in which they are looked for.
FORMATS: dict[str, type[Source]] = {
    source.format: source for source in (VocSource, CocoSource, YoloSource, CvatSource, XmlSource)
}


def find_source(config: DataConfig) -> Source:
    """Return the data set that the configuration names, of the first format that fits if it does not name one.

    Raises DataError if the folder is missing, or if there is none of its format in it.
    """
    root = Path(config.root)
    source = _find(root, config)
    source.top, source.allow_outside = root.parent if root.is_file() else root, config.allow_outside
    return source


def _find(root: Path, config: DataConfig) -> Source:
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
    formats = [each for name, each in FORMATS.items() if config.format in ("auto", name)]
    for folder in _descend(root):
        for each in formats:
            source = each.find(folder, config.year)
            if source:
                return source
    expected = "; ".join(f"{each.format}: {each.expected}" for each in formats)
    raise DataError("no annotations found", file=root, expected=expected, got=counted(len(list_images(root)), "image"))


def _descend(root: Path) -> list[Path]:
    """Return the folder and, as archives are unpacked, the folders below as long as there is a single one."""
    folders = [root]
    while len(inside := list_folders(folders[-1])) == 1:
        folders.append(inside[0])
    return folders
