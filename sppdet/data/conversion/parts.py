"""The splits of a data set under the names that another format has for them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sppdet.data.problems import Problems
from sppdet.data.splits import PARTS, STANDARD
from sppdet.structures import Annotations, Dataset, ImageId
from sppdet.wording import counted

Target = Literal["voc", "coco", "yolo"]
Parts = Mapping[str, Dataset]  # by the names of their splits


def unique_images(parts: Parts) -> dict[tuple[Path | None, ImageId], Annotations]:
    """Return each image of all parts once, by its file and id."""
    return {(image.path, image.id): image for part in parts.values() for image in part.images}


def choose_parts(parts: Parts, target: Target, root: Path, problems: Problems) -> dict[str, Dataset]:
    """Return the parts by the names that the target has for them, without trainval if it is train and val.

    parts: of the data in `root`, "" if there are no splits. Images in splits that YOLO format does not have are
    reported.
    """
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
        return {"train": replace(first, images=tuple(unique_images(named).values()))}
    lost = len(_files(*named.values()) - _files(*chosen.values()))
    if lost:
        lists = ", ".join(split for split in named if split not in chosen)
        message = f"{counted(lost, 'image')} left out, only in {lists}: YOLO format has train, val and test"
        problems.warn("images left out", message, root)
    return chosen


def _files(*parts: Dataset) -> set[Path | None]:
    return {image.path for part in parts for image in part.images}
