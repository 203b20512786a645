"""A data set of any format, written in another with all its splits."""

import logging
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from sppdet.config.data import DataConfig
from sppdet.data.build import build_dataset
from sppdet.data.conversion.coco_ids import has_ids, number_images, restore_ids, write_ids
from sppdet.data.conversion.parts import Parts, Target, choose_parts, unique_images
from sppdet.data.conversion.write import write_coco, write_voc, write_yolo
from sppdet.data.files import composed
from sppdet.data.formats.find import find_source
from sppdet.data.formats.source import Source
from sppdet.data.formats.voc import VocSource
from sppdet.data.problems import Problems
from sppdet.data.records import names_of
from sppdet.data.splits import NAMED, STANDARD
from sppdet.errors import DataError
from sppdet.files.durable import new_folder
from sppdet.structures import Dataset
from sppdet.wording import counted

logger = logging.getLogger(__name__)

WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}
CLASS_LIST = re.compile(rf".+_({'|'.join(NAMED)})")  # VOC's cat_train


class Conversion(NamedTuple):
    """format: of the source. parts: what was written, by split. renamed: images whose files have other names.
    left_out: difficult objects that the target cannot mark."""

    format: str
    parts: dict[str, Dataset]
    renamed: int
    left_out: int


def convert_dataset(config: DataConfig, target: Target, folder: Path, link: bool = False) -> Conversion:
    """Read all splits of the data that `config` names, as for a training, and write them into a new folder.

    link: make hard links to the images, not copies. Boxes keep their pixels; those that a training skips are left out.
    COCO's ids and the order of the classes are kept in `coco_ids.json` where the target has no place for them. Problems
    are logged.

    Raises DataError if the data cannot be read, or if the folder holds anything, lies in that of the data or cannot be
    written, which then is left as it was.
    """
    problems, source = Problems(config.strict), find_source(config)
    if folder.resolve().is_relative_to(source.root.resolve()):
        raise DataError("lies in the folder of the data", file=folder, expected="a folder elsewhere")
    parts = choose_parts(_read_parts(source, problems), target, source.root, problems)
    left_out = _warn_of_limits(parts, target, source, problems)
    parts = number_images(parts) if target == "coco" and source.format != "coco" else parts
    with new_folder(folder) as unfinished:
        written = WRITERS[target](unfinished, parts, source.root, _link if link else shutil.copyfile)
        if target != "coco" and has_ids(parts, in_order=target == "yolo"):
            write_ids(unfinished, written, parts)
    renamed = [(Path(file).stem, image.path) for file, image in written.items() if image.path]
    different = [(name, path) for name, path in renamed if name != composed(path.stem)]
    if different:
        name, path = different[0]
        problems.warn("renamed", f"{counted(len(different), 'image')} renamed, such as {path.name}: {name}", folder)
    problems.found = list(dict.fromkeys(problems.found))  # an image may be in several splits
    problems.log()
    if not any(split in NAMED or split in STANDARD for split in source.splits):
        same = "" if problems.found else ", in the same way as the data"  # whose names and classes the copy then has
        message = "no train, val and test in the data: the copy has %s; a training divides it by seed%s"
        logger.info(message, ", ".join(parts), same)
    return Conversion(source.format, parts, len(different), left_out)


def _read_parts(source: Source, problems: Problems) -> dict[str, Dataset]:
    """Return the data set of each split with the same classes, of the split "" if the source has no splits."""
    lists = [split for split in source.splits if not CLASS_LIST.fullmatch(split)]
    lists.sort(key=lambda split: (split not in NAMED, NAMED.index(split) if split in NAMED else 0))
    whole = restore_ids(source.read(lists or None, problems), source.root)
    classes = whole.classes or names_of(whole.images) or source.class_names(problems)
    if len(lists) < len(source.splits):
        message = f"{counted(len(source.splits) - len(lists), 'list')} of single classes left out"
        problems.warn("image lists", message, source.root)
    quiet = Problems(problems.strict)  # the same were found in the whole
    parts = {}
    for split in lists or [""]:
        records = restore_ids(source.read([split], quiet), source.root) if split else whole
        records = records._replace(category_ids=whole.category_ids)
        name = f"{source.name} {split}".strip()
        parts[split] = build_dataset(name, records, classes, source.least_side, problems, origin=source.title).dataset
    return parts


def _warn_of_limits(parts: Parts, target: Target, source: Source, problems: Problems) -> int:
    """Warn of objects that the target cannot hold. Returns the number of those that it does without."""
    images = unique_images(parts).values()
    if target == "voc":
        sides = [image.boxes[:, 2:] - image.boxes[:, :2] for image in images]
        thin = sum(int((each <= VocSource.least_side).any(1).sum()) for each in sides)
        if thin:
            message = f"{counted(thin, 'box')} with a side of a pixel or less, skipped where VOC XML is read"
            problems.warn("thin boxes", message, source.root)
    difficult = sum(int(image.difficult.sum()) for image in images) if target == "yolo" else 0
    if difficult:
        message = f"{counted(difficult, 'difficult object')} left out: YOLO format cannot mark them"
        problems.warn("difficult objects", message, source.root)
    return difficult


def _link(image: Path, new: Path) -> None:
    try:
        os.link(image.resolve(), new)
    except OSError as error:
        reason = f"cannot be linked ({error.strerror}); --images copy copies it"
        raise DataError(reason, file=image) from error
