"""One image and its annotated objects."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from sppdet.errors import ImageError, InputError
from sppdet.files.atomic import content_key, reading_failed
from sppdet.images import BITS, ImageLike, as_image
from sppdet.structures.checks import check_boxes, check_labels, check_tensor
from sppdet.wording import counted

ImageId = str | int


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
        return f"Annotations({self.id!r}: {image}, {counted(len(self.boxes), 'object')})"

    @property
    def path(self) -> Path | None:
        """The image file, None for an image in memory."""
        return self.image if isinstance(self.image, Path) else None

    def read(self) -> Tensor:
        """Return the pixels uint8 (3, H, W). Raises ImageError if the file is missing or cannot be decoded."""
        return as_image(self.image)

    def cache_key(self, *parts: object) -> str:
        """Return a hex key of the image's content and of `parts`. Raises ImageError if the file cannot be read."""
        if parts and (bits := os.environ.get(BITS)):  # the pixels depend on it
            parts = (*parts, bits)
        try:
            return content_key(self.image, *parts)
        except OSError as error:
            raise ImageError(f"image {reading_failed(error)}", file=self.path) from error


def check_images(count: int, images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there are `count` images and their labels are in 1..K."""
    if count != len(images):
        raise InputError("not one entry per image", expected=f"{counted(len(images), 'entry')}", got=count)
    for image in images:
        check_labels(image.labels, f"annotations of image {image.id}", len(classes))
