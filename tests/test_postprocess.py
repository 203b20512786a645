import itertools

import pytest
import torch
from factories import detect
from torch import Tensor

from sppdet.boxes import box_iou
from sppdet.config.detector import SelectionConfig
from sppdet.postprocess import combine_detections, select
from sppdet.structures import Detections

HERE, NEAR, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]  # HERE and NEAR overlap by 9/11


def rows(detections: Detections) -> list[tuple[list[float], int, float]]:
    columns = (detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist())
    return list(zip(*columns, strict=True))


def test_the_more_probable_box_suppresses_that_of_the_other_detector_in_its_class():
    one, other = detect([HERE, FAR], [0.75, 0.5]), detect([NEAR], [0.875])
    for order in ([one, other], [other, one]):
        assert rows(combine_detections(order)) == [(NEAR, 1, 0.875), (FAR, 1, 0.5)]
    both = combine_detections([detect([HERE], [0.5], [1]), detect([NEAR], [0.75], [2])])
    assert rows(both) == [(NEAR, 2, 0.75), (HERE, 1, 0.5)]


def test_the_selection_says_what_remains_and_equal_scores_stand_in_the_order_of_the_detectors():
    parts = [detect([HERE, FAR], [0.75, 0.25]), detect([NEAR], [0.5])]
    assert len(combine_detections(parts)) == 2
    assert len(combine_detections(parts, SelectionConfig(nms_iou=0.9))) == 3
    assert rows(combine_detections(parts, SelectionConfig(nms_iou=0.9, max_per_class=1))) == [(HERE, 1, 0.75)]
    one, other = detect([HERE], [0.5]), detect([NEAR], [0.5])
    assert rows(combine_detections([one, other])) == [(HERE, 1, 0.5)]
    assert rows(combine_detections([other, one])) == [(NEAR, 1, 0.5)]


@pytest.mark.parametrize("parts", [[], [Detections.empty()], [Detections.empty(), Detections.empty()]])
def test_nothing_found_is_nothing(parts):
    assert len(combine_detections(parts)) == 0


def test_three_detectors_give_the_greedy_choice_of_their_union():
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        corner, side = 40 * torch.rand(30, 2, generator=generator), 10 + 20 * torch.rand(30, 2, generator=generator)
        labels, scores = torch.randint(1, 4, (30,), generator=generator), torch.rand(30, generator=generator)
        parts.append(Detections(torch.cat([corner, corner + side], dim=1), labels, scores))
    kept: list[tuple[list[float], int, float]] = []
    for row in sorted((row for part in parts for row in rows(part)), key=lambda row: -row[2]):
        same = [other[0] for other in kept if other[1] == row[1]]
        if not same or box_iou(torch.tensor([row[0]]), torch.tensor(same)).max() <= 0.3:
            kept.append(row)
    assert 10 < len(kept) < 80
    for order in itertools.permutations(parts):
        assert rows(combine_detections(order)) == kept


SQUARES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [60, 0, 70, 10]])


def alike(boxes: Tensor, classes: int) -> Tensor:
    """The same boxes (N, 4) for every class."""
    return boxes[:, None].expand(-1, classes, -1)


def test_select_by_hand():
    scores = torch.tensor([[0.5, 0.9], [0.8, -3.0], [0.1, 0.0], [-1.6, -1.5]])
    found = select(alike(SQUARES, 2), scores, SelectionConfig())
    # Class 1: the second square suppresses the first. -1.5 itself is not above the lowest score.
    assert found.labels.tolist() == [2, 1, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.1, 0.0])
    assert torch.equal(found.boxes, SQUARES[[0, 1, 2, 2]])
    # Of nothing, and of nothing above it, nothing is left.
    assert len(select(torch.zeros(0, 3, 4), torch.zeros(0, 3), SelectionConfig())) == 0
    assert len(select(alike(SQUARES, 3), torch.full((4, 3), -9.0), SelectionConfig())) == 0


@pytest.mark.parametrize(("kind", "lowest"), [("svm", -1.5), ("softmax", 0.01)])
def test_scores_must_be_above_the_lowest(kind, lowest):
    scores = torch.tensor([[lowest], [lowest + 1e-3], [lowest - 1e-3], [torch.nan]])
    boxes = alike(SQUARES[[0, 2, 3, 3]], 1)
    assert select(boxes, scores, SelectionConfig(), kind).boxes.tolist() == [SQUARES[2].tolist()]
    assert len(select(boxes, scores, SelectionConfig(min_score=-9.0), kind)) == 3


def test_only_the_best_of_each_class_stay():
    generator = torch.Generator().manual_seed(0)
    corners = torch.arange(200.0)[:, None] * 20
    boxes = alike(torch.cat([corners, corners, corners + 10, corners + 10], dim=1), 3)  # none overlap
    scores = torch.rand(200, 3, generator=generator)
    scores[50:, 1] = -9
    found = select(boxes, scores, SelectionConfig(max_per_class=100))
    assert torch.bincount(found.labels).tolist() == [0, 100, 50, 100]
    assert (found.scores.diff() <= 0).all()
    for k in (0, 2):
        assert torch.equal(found.scores[found.labels == k + 1], scores[:, k].sort(descending=True).values[:100])
    assert len(select(boxes, scores, SelectionConfig(max_per_class=1))) == 3


def test_boxes_vote_with_their_score_above_the_lowest():
    # The second square of class 1 overlaps the best by 9/11; of class 2 it is too far below.
    scores = torch.tensor([[0.5, 0.5], [-0.5, -1.5], [-1.0, -9], [-9, -9]])
    found = select(alike(SQUARES, 2), scores, SelectionConfig(vote_iou=0.8))
    assert rows(found) == [
        ([pytest.approx(1 / 3), 0, pytest.approx(31 / 3), 10], 1, 0.5),
        (SQUARES[0].tolist(), 2, 0.5),
        (SQUARES[2].tolist(), 1, -1.0),
    ]
    assert rows(select(alike(SQUARES, 2), scores, SelectionConfig(vote_iou=0.9)))[0] == (SQUARES[0].tolist(), 1, 0.5)
