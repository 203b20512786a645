"""Checks that every implementation of a protocol has to pass; call them on its results. They are tested themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from factories import random_boxes, random_image
from torch import Tensor

from sppdet.detector import Detector
from sppdet.errors import SppdetError
from sppdet.features.extractor import FeatureExtractor, apply_to_features
from sppdet.files.atomic import load_tensors
from sppdet.structures import Annotations, Dataset, Detections

E = TypeVar("E", bound=SppdetError)

# Relative to the largest value. Matrix products and convolutions of different shapes may add the same terms in another
# order: some processors have kernels of their own for few rows. Only equal shapes give equal bits.
PRODUCT_ROUNDING = 1e-5


def raised(kind: type[E], function: Callable[..., object], *arguments: object) -> E:
    """The error of a call, which says what it says in one line."""
    with pytest.raises(kind) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def assert_close_rows(found: Tensor, expected: Tensor, tolerance: float = PRODUCT_ROUNDING) -> None:
    """The same rows up to the rounding of products of another shape."""
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def assert_same(found: Detections, expected: Detections) -> None:
    """The same detections bit for bit, and at least one."""
    assert len(found) == len(expected) > 0
    for name, value in expected.as_dict().items():
        assert torch.equal(found.as_dict()[name], value), name


def assert_comes_back(detector: Detector, folder: Path) -> None:
    """A detector is what is read from its file."""
    detector.save(folder / "detector.safetensors")
    image, boxes = random_image(60, 80), random_boxes()
    assert_same(Detector.load(folder).detect(image, boxes), detector.detect(image, boxes))


def assert_boxes(boxes: Tensor, size: tuple[int, int] | None = None) -> None:
    """Boxes float32 (N, 4) with ordered corners; in an image of this size (H, W), on the image."""
    assert boxes.dtype == torch.float32
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    assert boxes.isfinite().all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    if size is not None and len(boxes):
        assert boxes.min() >= 0
        assert (boxes.amax(dim=0) <= torch.tensor([size[1], size[0]] * 2)).all()


def assert_labels(labels: Tensor, count: int, classes: int) -> None:
    """`count` labels int64 in 1..classes."""
    assert (labels.dtype, labels.shape) == (torch.int64, (count,))
    assert ((labels >= 1) & (labels <= classes)).all()


def assert_detections(found: Detections, classes: int, size: tuple[int, int] | None = None) -> None:
    """Boxes, labels in 1..classes, and finite scores float32, best first."""
    assert_boxes(found.boxes, size)
    assert_labels(found.labels, len(found), classes)
    assert (found.scores.dtype, found.scores.shape) == (torch.float32, (len(found),))
    assert found.scores.isfinite().all()
    assert (found.scores.diff() <= 0).all()


def assert_annotations(image: Annotations, classes: int) -> None:
    """Boxes, labels in 1..classes, and which are difficult."""
    assert_boxes(image.boxes)
    assert_labels(image.labels, len(image.boxes), classes)
    assert (image.difficult.dtype, image.difficult.shape) == (torch.bool, image.labels.shape)


def assert_dataset(dataset: Dataset) -> None:
    """Images that are told apart by their ids, annotated with classes that have names and category ids of their own."""
    assert len({image.id for image in dataset.images}) == len(dataset) == len(dataset.images)
    assert len(set(dataset.classes)) == len(set(dataset.category_ids)) == len(dataset.classes)
    for image in dataset.images:
        assert_annotations(image, len(dataset.classes))


def assert_extractor(extractor: FeatureExtractor, image: Tensor, boxes: Tensor) -> None:
    """Features float32 (N, D) of boxes in an image uint8 (3, H, W): finite, the same each time they are asked for, in
    chunks, and after the windows that boxes share are left out; none of no boxes."""
    encoded = extractor.encode(image)
    features = encoded.features(boxes)
    assert (features.dtype, features.shape) == (torch.float32, (len(boxes), extractor.dimension))
    assert features.isfinite().all()
    assert torch.equal(encoded.features(boxes), features)
    assert encoded.features(boxes[:0]).shape == (0, extractor.dimension)
    assert_close_rows(torch.cat([chunk.clone() for chunk in encoded.chunks(boxes)]), features)
    first, inverse = encoded.unique_windows(boxes)
    assert (first[inverse] <= torch.arange(len(boxes))).all()
    assert_close_rows(features[first][inverse], features)
    assert_close_rows(apply_to_features(encoded, boxes, lambda rows: rows[:, :7] / 2), features[:, :7] / 2)
    assert apply_to_features(encoded, boxes[:0], lambda rows: rows[:, :7] / 2).shape == (0, 7)


def assert_same_tensors(one: Path, two: Path) -> None:
    """Check that two files hold the same tensors and header, whatever their keys are."""
    (first, header), (second, other) = load_tensors(one), load_tensors(two)
    assert header == other
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
