"""Images in a folder for each class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Image files with a class each. labels: int64 (N,), 0..K-1, into `classes`: there is no background."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Tensor


def read_image_folder(root: str | PathLike[str], classes: tuple[str, ...] | None = None) -> ImageFolder:
    """The images ROOT/CLASS/**/IMAGE, in the order of their classes and paths.

    classes: a classifier's; where not given, the sorted names of the folders. Raises DataError naming the folder that
    is missing, holds no images, or is of none of the classes.
    """
    if not Path(root).is_dir():
        raise DataError("folder not found", file=root)
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    if not folders:
        raise DataError("holds no folders", file=root, expected="CLASS/IMAGE in it")
    classes = classes or tuple(folder.name for folder in folders)
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in classes:
            raise DataError("unknown class", file=folder, expected=f"one of {', '.join(classes)}")
        found = [path for path in _files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise DataError("no images in the folder", file=folder, expected=", ".join(sorted(IMAGE_SUFFIXES)))
        files += found
        labels += [classes.index(folder.name)] * len(found)
    return ImageFolder(tuple(classes), tuple(files), torch.tensor(labels))


def _files_under(folder: Path) -> list[Path]:
    """Files at any depth, links followed, a folder's own before those of the folders in it."""
    found = sorted(os.walk(folder, followlinks=True))
    return [Path(place, name) for place, _, names in found for name in sorted(names)]
