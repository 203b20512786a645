"""The detections of one image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from sppdet.drawing.detections import draw_detections
from sppdet.errors import InputError
from sppdet.images import ImageLike
from sppdet.structures.annotations import Annotations, check_images
from sppdet.structures.checks import check_boxes, check_labels, check_tensor

SHOWN = 5  # detections in a repr


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The detections of one image, best score first.

    boxes: float32 (N, 4). labels: int64 (N,), 1..K. scores: float32 (N,). classes: names of labels 1..K, if known.

    >>> boxes, labels = torch.tensor([[0.0, 0, 30, 20], [5, 5, 9, 9]]), torch.tensor([2, 1])
    >>> detections = Detections(boxes, labels, torch.tensor([0.93, 0.5]), ("cat", "dog"))
    >>> detections
    Detections(2: dog 0.93, cat 0.50)
    >>> detections.above(0.8)
    Detections(1: dog 0.93)
    >>> [(box.tolist(), label) for box, label, score in detections]
    [([0.0, 0.0, 30.0, 20.0], 2), ([5.0, 5.0, 9.0, 9.0], 1)]
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_boxes(self.boxes)
        check_tensor(self.labels, "labels", torch.int64, len(self.boxes))
        check_tensor(self.scores, "scores", torch.float32, len(self.boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[tuple[Tensor, int, float]]:
        """Yield box (4,), label and score of each detection."""
        return zip(self.boxes, self.labels.tolist(), self.scores.tolist(), strict=True)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        return replace(self, boxes=self.boxes[index], labels=self.labels[index], scores=self.scores[index])

    def __repr__(self) -> str:
        first = self[:SHOWN]
        shown = [f"{name} {score:z.2f}" for name, score in zip(first.names, first.scores.tolist(), strict=True)]
        more = ["…"] if len(self) > SHOWN else []
        return f"Detections({len(self)}{': ' if shown else ''}{', '.join(shown + more)})"

    @classmethod
    def empty(cls) -> Detections:
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))

    @property
    def names(self) -> list[str]:
        """Name of the class of each detection; "class 3" for label 3 if the names are not known."""
        return [self.classes[label - 1] if self.classes else f"class {label}" for label in self.labels.tolist()]

    def above(self, thresholds: float | Tensor) -> Detections:
        """Return the detections with at least this score. A tensor (K,) holds one threshold per class."""
        if not isinstance(thresholds, Tensor) or thresholds.ndim == 0:
            return self[self.scores >= thresholds]
        check_labels(self.labels, "labels", len(thresholds))
        return self[self.scores >= thresholds.to(self.scores.device)[self.labels - 1]]

    def to(self, device: torch.device | str) -> Detections:
        """Return the same detections on another device."""
        return replace(self, boxes=self.boxes.to(device), labels=self.labels.to(device), scores=self.scores.to(device))

    def draw(self, image: ImageLike) -> Image.Image:
        """Return the image (a path or pixels) with each box, its class and its score drawn on it."""
        return Image.fromarray(draw_detections(image, self))

    def as_dict(self) -> dict[str, Tensor]:
        """Return torchvision's form: dict(boxes, labels, scores)."""
        return {"boxes": self.boxes, "labels": self.labels, "scores": self.scores}


def check_detections(detections: Sequence[Detections], images: Sequence[Annotations], classes: Sequence[str]) -> None:
    """Raise InputError unless there is one Detections per image, labels are in 1..K and no score is NaN."""
    check_images(len(detections), images, classes)
    for image, found in zip(images, detections, strict=True):
        check_labels(found.labels, f"detections of image {image.id}", len(classes))
        if torch.isnan(found.scores).any():
            raise InputError("not a number", field=f"scores of image {image.id}")
