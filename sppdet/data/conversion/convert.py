"""A data set of any format, written in another with all its splits."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from sppdet.config.data import DataConfig
from sppdet.data.conversion.coco_ids import number_images, restore_ids, write_ids
from sppdet.data.conversion.write import Parts, write_coco, write_voc, write_yolo
from sppdet.data.dataset import NAMED
from sppdet.data.files import composed
from sppdet.data.formats.find import FORMATS, Source, find_source
from sppdet.data.formats.voc import LEAST_SIDE
from sppdet.data.problems import Problems
from sppdet.data.records import build_dataset, names_of
from sppdet.data.split import PARTS, SYNONYMS
from sppdet.errors import DataError
from sppdet.files.atomic import new_folder
from sppdet.structures import Annotations, Dataset
from sppdet.wording import counted

Target = Literal["voc", "coco", "yolo"]
WRITERS = {"voc": write_voc, "coco": write_coco, "yolo": write_yolo}
STANDARD = {name: names[0] for names in SYNONYMS for name in names}  # valid: val
CLASS_LIST = re.compile(r".+_(train|val|trainval|test)")  # VOC's cat_train


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
    parts = _choose_parts(_read_parts(source, problems), target, source, problems)
    left_out = _warn_of_limits(parts, target, source, problems)
    parts = number_images(parts) if target == "coco" and source.format != "coco" else parts
    with new_folder(folder) as unfinished:
        written = WRITERS[target](unfinished, parts, source.root, _link if link else shutil.copyfile)
        first = next(iter(parts.values()))
        if target != "coco" and _has_ids(parts, in_order=target == "yolo"):
            write_ids(unfinished, written, first.classes, first.category_ids)
    renamed = [(Path(file).stem, image.path) for file, image in written.items() if image.path]
    different = [(name, path) for name, path in renamed if name != composed(path.stem)]
    if different:
        name, path = different[0]
        problems.warn("renamed", f"{counted(len(different), 'image')} renamed, such as {path.name}: {name}", folder)
    problems.found = list(dict.fromkeys(problems.found))  # an image may be in several splits
    problems.log()
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
    quiet = Problems()  # the same were found in the whole
    parts = {}
    for split in lists or [""]:
        records = restore_ids(source.read([split], quiet), source.root) if split else whole
        records = records._replace(category_ids=whole.category_ids)
        name, origin = f"{source.name} {split}".strip(), FORMATS[source.format]
        parts[split] = build_dataset(name, records, classes, source.least_side, problems, origin=origin)
    return parts


def _choose_parts(parts: Parts, target: Target, source: Source, problems: Problems) -> dict[str, Dataset]:
    """Return the parts by the names that the target has for them. Without trainval if it is train and val."""
    if target == "voc":
        return {split or "default": part for split, part in parts.items()}
    named = {}
    for split, part in parts.items():
        standard = STANDARD.get(split, split) or "default"
        named[split if standard in parts else standard] = part
    both = [named[split] for split in ("train", "val") if split in named]
    if both and "trainval" in named and _files(named["trainval"]) == _files(*both):
        del named["trainval"]
    if target == "coco":
        return named
    if "train" not in named and "trainval" in named:
        named["train"] = named.pop("trainval")
    chosen = {split: named[split] for split in PARTS if split in named}
    if not chosen:
        first = next(iter(named.values()))
        images = {(image.path, image.id): image for part in named.values() for image in part.images}
        return {"train": replace(first, images=tuple(images.values()))}
    lost = len(_files(*named.values()) - _files(*chosen.values()))
    if lost:
        lists = ", ".join(split for split in named if split not in chosen)
        message = f"{counted(lost, 'image')} left out, only in {lists}: YOLO format has train, val and test"
        problems.warn("images left out", message, source.root)
    return chosen


def _files(*parts: Dataset) -> set[Path | None]:
    return {image.path for part in parts for image in part.images}


def _unique_images(parts: Parts) -> list[Annotations]:
    return list({(image.path, image.id): image for part in parts.values() for image in part.images}.values())


def _warn_of_limits(parts: Parts, target: Target, source: Source, problems: Problems) -> int:
    """Warn of objects that the target cannot hold. Returns the number of those that it does without."""
    images = _unique_images(parts)
    difficult = sum(int(image.difficult.sum()) for image in images) if target == "yolo" else 0
    if difficult:
        message = f"{counted(difficult, 'difficult object')} left out: YOLO format cannot mark them"
        problems.warn("difficult objects", message, source.root)
    thin = sum(int(((image.boxes[:, 2:] - image.boxes[:, :2]) <= LEAST_SIDE).any(1).sum()) for image in images)
    if thin and target == "voc":
        message = f"{counted(thin, 'box')} with a side of a pixel or less, skipped where VOC XML is read"
        problems.warn("thin boxes", message, source.root)
    return difficult


def _has_ids(parts: Parts, in_order: bool) -> bool:
    """Return True if a set has ids of COCO's, or an order of classes other than by name and not kept otherwise."""
    first = next(iter(parts.values()))
    used = {
        first.classes[label - 1]
        for part in parts.values()
        for image in part.images
        for label in set(image.labels.tolist())
    }
    numbered = first.category_ids != tuple(range(1, len(first.classes) + 1))
    named = any(isinstance(image.id, int) for image in _unique_images(parts))
    return numbered or named or (not in_order and first.classes != tuple(sorted(used)))


def _link(image: Path, new: Path) -> None:
    try:
        os.link(image.resolve(), new)
    except OSError as error:
        reason = f"cannot be linked ({error.strerror}); --images copy copies it"
        raise DataError(reason, file=image) from error
