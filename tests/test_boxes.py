import math

import numpy as np
import pytest
import torch
import torchvision
from factories import as_boxes
from hypothesis import given, strategies as st
from torch import Tensor

from sppdet.boxes import MAX_LOG_RATIO, box_area, box_iou, clip_boxes, decode_boxes, encode_boxes, nms, vote

GRID = 12


@st.composite
def integer_boxes(draw, low: int = 0, high: int = GRID) -> Tensor:
    coordinate = st.integers(low, high)
    rows = draw(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), min_size=1, max_size=8))
    return torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows], dtype=torch.float32)


@st.composite
def solid_boxes(draw) -> Tensor:
    """Boxes from 1 to 300 pixels a side, anywhere around an image."""
    corner, side = st.floats(-200, 500, width=32), st.floats(1, 300, width=32)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=6))
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows])


def pixels(box: Tensor) -> np.ndarray:
    """The box painted on a grid."""
    painted = np.zeros((GRID, GRID), bool)
    x1, y1, x2, y2 = box.int().tolist()
    painted[y1:y2, x1:x2] = True
    return painted


def test_iou_by_hand():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2]])
    assert torch.equal(box_iou(boxes[:1], boxes), torch.tensor([[1, 1 / 7, 0]]))
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert box_iou(point, torch.cat([point, torch.tensor([[0.0, 0, 9, 9]])])).tolist() == [[0, 0]]
    assert box_iou(torch.zeros(0, 4), boxes).shape == (0, 3)


@given(integer_boxes(), integer_boxes())
def test_iou_counts_pixels(a: Tensor, b: Tensor):
    iou = box_iou(a, b)
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            union = (pixels(first) | pixels(second)).sum()
            expected = (pixels(first) & pixels(second)).sum() / union if union else 0
            assert float(iou[i, j]) == pytest.approx(expected, abs=1e-6)


@given(solid_boxes(), solid_boxes())
def test_iou_is_torchvisions(a: Tensor, b: Tensor):
    torch.testing.assert_close(box_iou(a, b), torchvision.ops.box_iou(a, b))


@given(integer_boxes())
def test_area_counts_pixels(boxes: Tensor):
    assert box_area(boxes).tolist() == [pixels(box).sum() for box in boxes]


@given(integer_boxes(-GRID, 2 * GRID))
def test_clipping_keeps_the_part_on_the_image(boxes: Tensor):
    clipped = clip_boxes(boxes, height=7, width=GRID)
    for box, (x1, y1, x2, y2) in zip(clipped.tolist(), boxes.tolist(), strict=True):
        expected = [*(min(max(x, 0), GRID) for x in (x1, x2)), *(min(max(y, 0), 7) for y in (y1, y2))]
        assert [box[0], box[2], box[1], box[3]] == expected


def test_encoding_by_hand_and_a_wild_size_stays_finite():
    box, target = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 10]])
    expected = torch.tensor([[1.0, -0.25, math.log(2), math.log(0.5)]])
    torch.testing.assert_close(encode_boxes(box, target), expected)
    decoded = decode_boxes(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 1e9, 1e9]]))
    torch.testing.assert_close(decoded, torch.tensor([[-492.0, -492, 508, 508]]), rtol=1e-4, atol=0.1)


@given(st.data())
def test_decoding_undoes_encoding(data: st.DataObject):
    boxes = data.draw(solid_boxes())
    targets = boxes[torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))]
    ratio = (targets[:, 2:] - targets[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
    inside = (ratio.log() < MAX_LOG_RATIO).all(dim=1)
    decoded = decode_boxes(boxes, encode_boxes(boxes, targets))
    torch.testing.assert_close(decoded[inside], targets[inside], rtol=1e-4, atol=1e-2)


def test_decoding_of_offsets_and_clipping_of_boxes_a_class():
    boxes = torch.tensor([[0.0, 0, 10, 20], [5, 5, 9, 7]])
    offsets = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    decoded = decode_boxes(boxes, offsets)
    for k in range(3):
        assert torch.equal(decoded[:, k], decode_boxes(boxes, offsets[:, k]))
    boxes = torch.tensor([[[-1.0, -2, 30, 40], [1, 2, 3, 4]]])  # (N, K, 4)
    assert clip_boxes(boxes, 10, 20).tolist() == [[[0, 0, 20, 10], [1, 2, 3, 4]]]


@given(st.data())
def test_nms_is_torchvisions_in_each_class(data: st.DataObject):
    boxes = data.draw(integer_boxes(-GRID, GRID))
    n = len(boxes)
    order = data.draw(st.permutations(range(n)))
    scores = torch.tensor(order, dtype=torch.float32) / 7
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    threshold = data.draw(st.sampled_from([0.0, 0.3125, 0.5, 0.6875]))  # the same in single and double precision
    expected = []
    for label in range(3):
        rows = ((labels == label) & (box_area(boxes) > 0)).nonzero().flatten()
        expected += rows[torchvision.ops.nms(boxes[rows], scores[rows], threshold)].tolist()
    expected.sort(key=lambda i: -scores[i])
    assert nms(boxes, scores, labels, threshold).tolist() == expected


def test_nms_suppresses_above_the_threshold_only():
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # IoU exactly 1/2
    scores, labels = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    assert nms(boxes, scores, labels, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, labels, 0.49).tolist() == [0]


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "kept"),
    [
        ([[3, 3, 3, 9], [0, 0, 5, 5], [3, 3, 3, 9]], [0.9, 0.5, 0.8], [0, 0, 0], [1]),  # without area
        ([[0, 0, 5, 5], [9, 9, 12, 12], [0, 0, 5, 5]], [1, 1, 1], [1, 0, 1], [0, 1]),  # ties go to the first
        ([], [], [], []),
    ],
)
def test_nms_by_hand(boxes, scores, labels, kept):
    assert nms(as_boxes(boxes), torch.tensor(scores).float(), torch.tensor(labels).long(), 0.3).tolist() == kept


@given(st.data())
def test_votes_are_weighted_means_of_the_boxes_that_overlap(data: st.DataObject):
    boxes = data.draw(integer_boxes())
    boxes = torch.cat([boxes, boxes + 1])  # so that some overlap
    weights = torch.tensor(data.draw(st.lists(st.sampled_from([-1.0, 0, 0.5, 2]), min_size=16, max_size=16)))[
        : len(boxes)
    ]
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=16, max_size=16)))[: len(boxes)]
    kept = torch.tensor(data.draw(st.lists(st.integers(0, len(boxes) - 1), unique=True)), dtype=torch.int64)
    threshold = data.draw(st.sampled_from([0.2, 0.55, 0.9]))
    expected = []
    for index in kept.tolist():
        voters = [
            (float(weight), box)
            for weight, box, label, overlap in zip(
                weights, boxes, labels, box_iou(boxes[[index]], boxes)[0], strict=True
            )
            if label == labels[index] and overlap >= threshold and weight > 0
        ]
        total = sum(weight for weight, _ in voters)
        expected.append(sum(weight * box for weight, box in voters) / total if voters else boxes[index])
    found = vote(boxes, weights, labels, kept, threshold)
    assert found.shape == (len(kept), 4)
    torch.testing.assert_close(found, torch.stack(expected) if expected else torch.zeros(0, 4))
