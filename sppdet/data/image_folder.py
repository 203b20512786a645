"""Images in one folder per class, as torchvision's ImageFolder reads them."""

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
    """Image files and their classes. labels: int64 (N,), 0..K-1, indices of `classes`; there is no background."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Tensor


def read_image_folder(root: str | PathLike[str], classes: tuple[str, ...] | None = None) -> ImageFolder:
    """Read the images ROOT/CLASS/**/IMAGE, in the order of their classes and paths.

    classes: names of the classes, such as a classifier's; by default the sorted names of the folders. Raises DataError
    that names the folder if it is missing, holds no images, or is not one of the classes.
    """
    if not Path(root).is_dir():
        raise DataError("folder not found", file=root)
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    if not folders:
        raise DataError("holds no folders", file=root, expected="CLASS/IMAGE")
    classes = classes or tuple(folder.name for folder in folders)
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in classes:
            raise DataError("unknown class", file=folder, expected=f"one of {', '.join(classes)}")
        images = [path for path in _files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise DataError("no images in the folder", file=folder, expected=", ".join(sorted(IMAGE_SUFFIXES)))
        files += images
        labels += [classes.index(folder.name)] * len(images)
    return ImageFolder(tuple(classes), tuple(files), torch.tensor(labels))


def _files_under(folder: Path) -> list[Path]:
    """Return files at any depth, following links; the files of a folder come before the files of its subfolders."""
    tree = sorted(os.walk(folder, followlinks=True))
    return [Path(parent, name) for parent, _, names in tree for name in sorted(names)]
