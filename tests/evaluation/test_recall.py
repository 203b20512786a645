"""Proposals' recall and average best overlap, by hand and against a loop over torchvision's IoU."""

from math import isnan

import pytest
from factories import annotate, as_boxes
from hypothesis import given, strategies as st
from torchvision.ops import box_iou

from sppdet.evaluation.recall import evaluate_proposals


def test_by_hand() -> None:
    """Best overlaps: class one 1 and 0.5, class two 0.4, a difficult object that no one asks for."""
    images = [
        annotate([[0, 0, 10, 10], [200, 200, 240, 240], [300, 0, 400, 100]], [1, 1, 2]),
        annotate([[0, 0, 10, 10]], [1], difficult=[True]),
    ]
    proposals = [as_boxes([[0, 0, 10, 10], [0, 0, 10, 9], [200, 200, 240, 220], [300, 0, 400, 40]]), as_boxes([])]
    quality = evaluate_proposals(proposals, images, ["one", "two", "three"])
    assert quality.objects == 3
    assert quality.boxes_per_image == 2
    assert quality.recall == pytest.approx(2 / 3)
    assert quality.abo["one"] == pytest.approx(0.75)
    assert quality.abo["two"] == pytest.approx(0.4)
    assert quality.mabo == pytest.approx((0.75 + 0.4) / 2)
    assert (quality.recall_by_class["one"], quality.recall_by_class["two"]) == (1, 0)
    assert quality.recall_by_size == {"small": 1, "medium": 1, "large": 0}
    assert isnan(quality.abo["three"])
    assert isnan(quality.recall_by_class["three"])
    assert quality.as_dict()["recall"] == quality.recall
    assert evaluate_proposals(proposals, images, ["one", "two", "three"], iou=0.6).recall == pytest.approx(1 / 3)


@pytest.mark.parametrize(("side", "size"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")])
def test_sizes_are_cocos(side, size) -> None:
    image = annotate([[0, 0, side, side]], [1])
    quality = evaluate_proposals([image.boxes], [image], ["one"])
    assert quality.recall_by_size[size] == 1
    assert sum(not isnan(value) for value in quality.recall_by_size.values()) == 1


def test_images_without_proposals_lower_the_recall_and_nothing_at_all_is_nan() -> None:
    image = annotate([[0, 0, 10, 10]], [1])
    quality = evaluate_proposals([as_boxes([]), image.boxes], [image, image], ["one"])
    assert quality.recall == quality.mabo == 0.5
    quality = evaluate_proposals([], [], ["one"])
    assert quality.objects == 0
    assert isnan(quality.recall)
    assert isnan(quality.mabo)
    assert isnan(quality.boxes_per_image)


corner = st.integers(0, 150)
side = st.integers(1, 120)
box = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)
objects = st.lists(st.tuples(box, st.integers(1, 2), st.booleans()), max_size=4)


@given(st.lists(st.tuples(objects, st.lists(box, max_size=5)), max_size=4))
def test_equals_a_loop(scene) -> None:
    images = [annotate(*([entry[n] for entry in part] for n in range(3))) for part, _ in scene]
    quality = evaluate_proposals([as_boxes(boxes) for _, boxes in scene], images, ["one", "two"])
    best: dict[int, list[float]] = {1: [], 2: []}
    for part, boxes in scene:
        for target, label, difficult in part:
            if not difficult:
                pairs = [box_iou(as_boxes(target), as_boxes(other)).item() for other in boxes]
                best[label].append(max(pairs, default=0.0))
    every = best[1] + best[2]
    averages = [sum(values) / len(values) for values in best.values() if values]
    assert quality.objects == len(every)
    if every:
        assert quality.recall == pytest.approx(sum(value >= 0.5 for value in every) / len(every))
        assert quality.mabo == pytest.approx(sum(averages) / len(averages), abs=1e-6)
