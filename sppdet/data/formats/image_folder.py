"""Images in one folder per class, as torchvision's ImageFolder reads them."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from sppdet.data.files import leading_outside, list_folders, list_images, outside_error
from sppdet.errors import DataError
from sppdet.images import IMAGE_SUFFIXES


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Image files and their classes. labels: int64 (N,), 0..K-1, indices of `classes`; there is no background."""

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Tensor


def read_image_folder(
    root: str | PathLike[str], classes: tuple[str, ...] | None = None, allow_outside: bool = False
) -> ImageFolder:
    """Read the images ROOT/CLASS/**/IMAGE, in the order of their classes and paths.

    Hidden files and folders, such as .ipynb_checkpoints and __MACOSX, are left out.

    classes: names of the classes, such as a classifier's; by default the sorted names of the folders. Raises DataError
    that names the folder if it is missing, holds no images, or is not one of the classes, and one that names the image
    if a link leads out of the root, unless allow_outside.
    """
    if not Path(root).is_dir():
        raise DataError("folder not found", file=root)
    folders = list_folders(Path(root))
    if not folders:
        raise DataError("holds no folders", file=root, expected="CLASS/IMAGE")
    classes = classes or tuple(folder.name for folder in folders)
    files: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in classes:
            raise DataError("unknown class", file=folder, expected=tuple(classes), got=folder.name)
        images = list_images(folder)
        if not images:
            raise DataError("no images in the folder", file=folder, expected=", ".join(IMAGE_SUFFIXES))
        files += images
        labels += [classes.index(folder.name)] * len(images)
    outside = set() if allow_outside else leading_outside(root, files)
    for file in sorted(outside)[:1]:
        raise outside_error(file)
    return ImageFolder(tuple(classes), tuple(files), torch.tensor(labels))
