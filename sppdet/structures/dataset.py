"""A named list of annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sppdet.boxes import box_area
from sppdet.errors import DataError, InputError
from sppdet.files.atomic import content_key
from sppdet.structures.annotations import Annotations
from sppdet.structures.checks import check_labels
from sppdet.structures.torchvision import convert_coco, convert_voc
from sppdet.wording import counted

if TYPE_CHECKING:
    from torchvision.datasets import CocoDetection, VOCDetection


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named list of annotated images.

    classes: names of labels 1..K. category_ids: ids of the classes in COCO files, 1..K by default.

    As a torch data set it yields torchvision's (image, target) pairs; `images` are the annotations themselves.
    Raises InputError for a label that has no class.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[Annotations, ...]
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ids = tuple(self.category_ids) or tuple(range(1, len(self.classes) + 1))
        values = {"classes": tuple(self.classes), "images": tuple(self.images), "category_ids": ids}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for image in self.images:
            check_labels(image.labels, f"labels of image {image.id}", len(self.classes))

    @classmethod
    def from_torchvision(cls, source: VOCDetection | CocoDetection, classes: Sequence[str] | None = None) -> Dataset:
        """Convert one of torchvision's data sets. Images stay in their files; transforms are not applied.

        classes: names of labels 1..K. By default the sorted names of the objects in a VOC split (give the names to
        make several splits agree), or all categories of a COCO file in the order of their ids.
        Unusable boxes are skipped and logged (see `keep_valid_boxes`). Raises DataError for a class that is not in
        `classes`, or a class that a COCO file does not have.
        """
        from torchvision.datasets import CocoDetection, VOCDetection

        if isinstance(source, VOCDetection):
            return cls(f"VOC{source.year}", *convert_voc(source, classes))
        if isinstance(source, CocoDetection):
            return cls(Path(source.root).name, *convert_coco(source, classes))
        expected, got = "VOCDetection or CocoDetection", type(source).__name__
        raise InputError("unknown data set", field="source", expected=expected, got=got)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """Return an image float32 (3, H, W) in [0, 1] and its target, as torchvision's detection models take them.

        target: boxes, labels, image_id (the id if it is a number, else the index), area, and iscrowd for difficult
        objects.
        """
        annotations = self.images[index]
        boxes = annotations.boxes
        target = {
            "boxes": boxes,
            "labels": annotations.labels,
            "image_id": annotations.id if isinstance(annotations.id, int) else range(len(self))[index],
            "area": box_area(boxes),
            "iscrowd": annotations.difficult.to(torch.int64),
        }
        return annotations.read() / 255, target

    def __repr__(self) -> str:
        objects = sum(len(image.labels) for image in self.images)
        sizes = {"image": len(self), "object": objects, "class": len(self.classes)}
        return f"Dataset({self.name}: {', '.join(counted(number, noun) for noun, number in sizes.items())})"

    def key(self) -> str:
        """Return a hex key of the content: ids, images and objects, and the classes with their ids.

        Raises ImageError if a file cannot be read.
        """
        images = [one.cache_key(one.id, one.boxes, one.labels, one.difficult) for one in self.images]
        return content_key(self.classes, self.category_ids, images)

    def subset(self, indices: Sequence[int]) -> Dataset:
        """Return the same data set with only the images at `indices`."""
        return replace(self, images=tuple(self.images[i] for i in indices))

    def check_classes(self, classes: Sequence[str], detector: str | PathLike[str] | None) -> None:
        """Raise DataError, naming the detector, unless its classes and the classes of the data are the same."""
        if tuple(classes) != self.classes:
            expected, got = ", ".join(self.classes), ", ".join(classes)
            raise DataError("the detector's classes are not the data's", file=detector, expected=expected, got=got)
