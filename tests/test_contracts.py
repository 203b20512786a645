"""The contracts refuse what breaks them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from contracts import (
    PRODUCT_ROUNDING,
    assert_annotations,
    assert_boxes,
    assert_close_rows,
    assert_dataset,
    assert_detections,
    assert_extractor,
    assert_same,
)
from factories import annotate, detect, random_image

from sppdet.structures import Dataset

BOXES = torch.tensor([[0.0, 0, 10, 20], [5, 5, 30, 10]])
ROWS = torch.tensor([[1.0, -4, 2], [0, 0, 1]])


def refuse(check, wrong, *rest) -> None:
    with pytest.raises(AssertionError):
        check(wrong, *rest)


def test_rows_may_differ_by_rounding_only():
    assert_close_rows(ROWS * (1 + PRODUCT_ROUNDING / 2), ROWS)
    assert_close_rows(ROWS[:0], ROWS[:0])
    for wrong in (ROWS + 1e-3, ROWS[:1], ROWS.double()):
        refuse(assert_close_rows, wrong, ROWS)


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_boxes_are_on_the_image_with_corners_in_order(column):
    assert_boxes(BOXES, (20, 30))
    assert_boxes(BOXES[:0], (20, 30))
    change = torch.zeros(4)
    change[column] = -1 if column < 2 else 1
    for wrong in (BOXES.double(), BOXES[:, :3], BOXES[0], BOXES / 0, BOXES.flip(1), BOXES[:] + 40 * change):
        refuse(assert_boxes, wrong, (20, 30))


def test_detections_come_best_first_with_labels_of_the_classes():
    found = detect(BOXES, [0.9, 0.1], [1, 2])
    assert_detections(found, 2, (20, 30))
    assert_same(found, detect(BOXES, [0.9, 0.1], [1, 2]))
    for wrong in (
        detect(BOXES, [0.1, 0.9], [1, 2]),
        detect(BOXES, [0.9, 0.1], [1, 3]),
        detect(BOXES, [0.9, 0.1], [1, 0]),
        detect(BOXES, [torch.inf, 0.1], [1, 2]),
        detect(BOXES + 1, [0.9, 0.1], [1, 2]),
    ):
        refuse(assert_detections, wrong, 2, (20, 30))
        refuse(assert_same, wrong, found)
    refuse(assert_same, detect(), detect())


def test_the_images_of_a_data_set_are_told_apart():
    images = (annotate(BOXES, [1, 2]), annotate(name="b"))
    dataset = Dataset("set", ("cat", "dog"), images)
    assert_annotations(images[0], 2)
    assert_dataset(dataset)
    for wrong in (
        replace(dataset, images=images[:1] * 2),
        replace(dataset, classes=("cat", "cat")),
        replace(dataset, category_ids=(1, 1)),
    ):
        refuse(assert_dataset, wrong)


class Encoded:
    """The mean color of the image, once per box."""

    def features(self, boxes):
        return torch.ones(len(boxes), 8)

    def chunks(self, boxes):
        yield self.features(boxes)

    def unique_windows(self, boxes):
        return torch.arange(len(boxes)), torch.arange(len(boxes))


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("features", lambda _, boxes: torch.rand(len(boxes), 8)),
        ("features", lambda _, boxes: torch.ones(len(boxes), 8).half()),
        ("features", lambda _, boxes: torch.full((len(boxes), 8), torch.nan)),
        ("features", lambda _, boxes: torch.ones(max(1, len(boxes)), 8)),
        ("features", lambda _, boxes: torch.ones(len(boxes), 9)),
        ("chunks", lambda self, boxes: iter([self.features(boxes[:-1])])),
        ("unique_windows", lambda _, boxes: (torch.arange(len(boxes)), torch.arange(len(boxes)).flip(0))),
    ],
)
def test_features_are_the_same_however_they_are_asked_for(monkeypatch, method, wrong):
    extractor = SimpleNamespace(dimension=8, encode=lambda _: Encoded())
    assert_extractor(extractor, random_image(5, 5), BOXES)
    monkeypatch.setattr(Encoded, method, wrong)
    refuse(assert_extractor, extractor, random_image(5, 5), BOXES)
