"""The records passed between modules. Each validates its shapes and dtypes on construction.

Boxes are float32 (N, 4) as x1 y1 x2 y2, in pixels of the original image, 0-based and half-open
(width = x2 - x1). Labels are int64 in 1..K; 0 is background, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sppdet.errors import ImageError, InputError
from sppdet.files.atomic import content_key
from sppdet.images import as_image

if TYPE_CHECKING:
    from sppdet.images import ImageLike

ImageId = str | int


def check_tensor(value: object, name: str, dtype: torch.dtype, *shape: int | None) -> None:
    """Raise InputError unless `value` is a tensor of this dtype and shape; None stands for any length."""
    expected = f"{str(dtype).removeprefix('torch.')} ({', '.join('N' if n is None else str(n) for n in shape)})"
    if not isinstance(value, Tensor):
        raise InputError("not a tensor", field=name, expected=expected, got=type(value).__name__)
    same_shape = value.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, value.shape, strict=True))
    if value.dtype != dtype or not same_shape:
        got = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        raise InputError("wrong type or shape", field=name, expected=expected, got=got)


def check_boxes(boxes: object, name: str = "boxes") -> None:
    """Raise InputError unless `boxes` is float32 (N, 4), finite, with x1 <= x2 and y1 <= y2."""
    check_tensor(boxes, name, torch.float32, None, 4)
    assert isinstance(boxes, Tensor)
    if not torch.isfinite(boxes).all():
        raise InputError("not finite", field=name, expected="finite coordinates")
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(dim=1)
    if wrong.any():
        raise InputError(
            "corners in the wrong order", field=name, expected="x1 <= x2, y1 <= y2", got=boxes[wrong][0].tolist()
        )


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Annotations:
    """The annotated objects of one image.

    image: Path of its file, or its pixels uint8 (3, H, W). boxes: float32 (N, 4). labels: int64 (N,), 1..K.
    difficult: bool (N,). id: name of the image in its data set (VOC: "000005"; COCO: the integer id).
    """

    image: Path | Tensor
    boxes: Tensor
    labels: Tensor
    difficult: Tensor
    id: ImageId

    def __init__(
        self,
        image: ImageLike,
        boxes: Tensor,
        labels: Tensor,
        difficult: Tensor | None = None,
        id: ImageId | None = None,
    ) -> None:
        """image: path of a file, or an image in memory in any form that `as_image` accepts.

        Without `difficult` no object is difficult. The default id is the name of the file without its suffix, or a hash
        of the pixels.
        """
        check_boxes(boxes)
        check_tensor(labels, "labels", torch.int64, len(boxes))
        difficult = torch.zeros(len(boxes), dtype=torch.bool) if difficult is None else difficult
        check_tensor(difficult, "difficult", torch.bool, len(boxes))
        if len(labels) and labels.min() < 1:
            raise InputError("label out of range", field="labels", expected="1..K", got=int(labels.min()))
        image = Path(image) if isinstance(image, (str, PathLike)) else as_image(image)
        if id is None:
            id = image.stem if isinstance(image, Path) else content_key(image)[:12]
        values = {"image": image, "boxes": boxes, "labels": labels, "difficult": difficult, "id": id}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        image = self.image if isinstance(self.image, Path) else "{}x{} pixels".format(*self.image.shape[:0:-1])
        return f"Annotations({self.id!r}: {image}, {len(self.boxes)} objects)"

    @property
    def path(self) -> Path | None:
        """The image file, None for an image in memory."""
        return self.image if isinstance(self.image, Path) else None

    def read(self) -> Tensor:
        """Return the pixels uint8 (3, H, W). Raises ImageError if the file is missing or cannot be decoded."""
        return as_image(self.image)

    def cache_key(self, *parts: object) -> str:
        """Return a hex key of the image's content and of `parts`. Raises ImageError if the file cannot be read."""
        if self.path and not self.path.is_file():
            raise ImageError("image file not found", file=self.path)
        try:
            return content_key(self.image, *parts)
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}", file=self.path) from error


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named list of annotated images.

    classes: names of labels 1..K. category_ids: what COCO files call each class; 1..K where unset.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[Annotations, ...]
    category_ids: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.category_ids:
            object.__setattr__(self, "category_ids", tuple(range(1, len(self.classes) + 1)))

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: list[int] | range) -> Dataset:
        """The same data set with only the images at `indices`."""
        return replace(self, images=tuple(self.images[i] for i in indices))


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, best score first.

    boxes: float32 (N, 4). labels: int64 (N,), 1..K. scores: float32 (N,).
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        check_boxes(self.boxes)
        check_tensor(self.labels, "labels", torch.int64, len(self.boxes))
        check_tensor(self.scores, "scores", torch.float32, len(self.boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        return Detections(self.boxes[index], self.labels[index], self.scores[index])

    @classmethod
    def empty(cls) -> Detections:
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))

    def as_dict(self) -> dict[str, Tensor]:
        """torchvision's form: dict(boxes, labels, scores)."""
        return {"boxes": self.boxes, "labels": self.labels, "scores": self.scores}


def check_detections(detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there is one Detections per image, labels lie in 1..K and no score is NaN."""
    check_images(len(detections), images, classes)
    for image, found in zip(images, detections, strict=True):
        _check_labels(found.labels, f"detections of image {image.id}", len(classes))
        if torch.isnan(found.scores).any():
            raise InputError("not a number", field=f"scores of image {image.id}")


def check_images(count: int, images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there are `count` images and their labels lie in 1..K."""
    if count != len(images):
        raise InputError("not one entry per image", expected=f"{len(images)} entries", got=count)
    for image in images:
        _check_labels(image.labels, f"annotations of image {image.id}", len(classes))


def _check_labels(labels: Tensor, field: str, classes: int) -> None:
    wrong = labels[(labels < 1) | (labels > classes)]
    if len(wrong):
        raise InputError("label of no class", field=field, expected=f"1..{classes}", got=int(wrong[0]))
