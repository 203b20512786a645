import numpy as np
import pytest
import torch
from factories import annotate, as_boxes
from torch import Tensor

from sppdet.boxes import box_iou, decode_boxes
from sppdet.config.heads import SoftmaxConfig, SVMConfig
from sppdet.config.training import BoxRegressionConfig
from sppdet.training.sampling import (
    ImageRegions,
    box_regression_examples,
    hard_negatives,
    initial_svm_examples,
    sample,
    softmax_examples,
    svm_targets,
)

RNG = np.random.default_rng


def regions_of(objects: list, labels: list[int], difficult: list[bool], proposals: list) -> ImageRegions:
    return ImageRegions.from_annotations(annotate(objects, labels, difficult), as_boxes(proposals))


# Two objects and a difficult one of the first class, all 10 x 10.
OBJECTS = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
PROPOSALS = {
    "exact": [0, 0, 10, 10],  # IoU 1 with the first
    "near": [0, 0, 10, 6],  # 0.6
    "partial": [0, 0, 10, 4],  # 0.4
    "corner": [0, 0, 10, 2],  # 0.2
    "border": [20, 0, 30, 3],  # 0.3 with the second
    "on difficult": [40, 0, 50, 6],  # 0.6
    "by difficult": [40, 0, 50, 2],  # 0.2
    "far": [60, 60, 70, 70],
}
SCENE = regions_of(OBJECTS, [1, 2, 1], [False, False, True], list(PROPOSALS.values()))
NAMES = ["first", "second", "difficult", *PROPOSALS]
EMPTY = regions_of([], [], [], list(PROPOSALS.values()))


def names(indices: Tensor) -> list[str]:
    return [NAMES[i] for i in indices.tolist()]


def test_objects_come_first_and_flat_proposals_are_left_out():
    regions = regions_of(OBJECTS, [1, 2, 1], [False] * 3, [[1, 1, 5, 5], [2, 2, 2, 9], [2, 2, 9, 2], [3, 3, 4, 4]])
    assert regions.num_objects == 3
    assert regions.boxes.tolist() == [*OBJECTS, [1, 1, 5, 5], [3, 3, 4, 4]]
    assert torch.equal(regions.iou, box_iou(regions.boxes, regions.annotations.boxes))


def test_class_overlaps_are_the_largest_of_the_class():
    overlaps = SCENE.class_overlaps(3)
    assert overlaps[:, 2].tolist() == [0] * len(NAMES)
    expected = {"first": (1, 0), "near": (0.6, 0), "on difficult": (0.6, 0), "border": (0, 0.3), "far": (0, 0)}
    for name, values in expected.items():
        assert overlaps[NAMES.index(name), :2].tolist() == pytest.approx(values)


def test_svm_targets_by_hand_and_of_objects_that_overlap():
    targets = svm_targets(SCENE, 2, SVMConfig())
    assert targets.dtype == torch.int8
    expected = {"first": [1, -1], "second": [-1, 1], "border": [-1, 0]}
    expected |= {name: [0, -1] for name in ("difficult", "exact", "near", "partial", "on difficult")}
    expected |= {name: [-1, -1] for name in ("corner", "by difficult", "far")}
    assert dict(zip(NAMES, targets.tolist(), strict=True)) == expected
    regions = regions_of([[0, 0, 10, 10], [0, 0, 10, 8]], [1, 2], [False, False], [])
    assert svm_targets(regions, 2, SVMConfig()).tolist() == [[1, 0], [0, 1]]
    assert (svm_targets(EMPTY, 2, SVMConfig()) == -1).all()


def test_first_examples_are_objects_and_random_proposals():
    chosen = initial_svm_examples(SCENE, SVMConfig(random_negatives=3), RNG(0))
    assert names(chosen[:2]) == ["first", "second"]
    assert len(chosen) == 5
    assert chosen[2:].min() >= SCENE.num_objects
    assert len(set(chosen.tolist())) == 5
    everything = initial_svm_examples(SCENE, SVMConfig(random_negatives=99), RNG(0))
    assert names(everything) == [name for name in NAMES if name != "difficult"]


def test_choose():
    indices = torch.arange(10, 30)
    chosen = sample(indices, 5, RNG(0))
    assert len(set(chosen.tolist())) == 5
    assert (chosen.diff() > 0).all()
    assert torch.isin(chosen, indices).all()
    assert torch.equal(sample(indices, 5, RNG(0)), chosen)
    assert torch.equal(sample(indices, 20, RNG(0)), indices)
    assert len(sample(indices, 0, RNG(0))) == len(sample(indices, -1, RNG(0))) == 0


def hard(scores: list[list[float]], boxes: list, known: list[int] = (), **settings) -> list[int]:  # type: ignore[assignment]
    regions = regions_of([], [], [], boxes)
    targets = torch.full((len(boxes), len(scores[0])), -1, dtype=torch.int8)
    found = hard_negatives(regions, torch.tensor(scores), targets, torch.tensor(known).long(), SVMConfig(**settings))
    return found.tolist()


APART = [[20 * i, 0, 20 * i + 10, 10] for i in range(5)]


def test_hard_negatives_are_those_above_the_threshold_hardest_first_without_known_ones():
    scores = [[-2.0, -0.5], [-1.1, -1.2], [0.3, -3], [-1.0, -9], [-5, -5]]
    assert hard(scores, APART) == [2, 0, 3]
    assert hard(scores, APART, hard_negatives=2) == [2, 0]
    assert hard(scores, APART, hard_margin=-0.6) == [2, 0]
    assert hard([[-3.0]] * 5, APART) == []
    scores = [[0.5], [0.4], [0.3], [0.2], [0.1]]
    assert hard(scores, APART, known=[0, 2]) == [1, 3, 4]
    assert hard(scores, APART, known=[0, 2], hard_negatives=2) == [1, 3]


def test_of_negatives_that_overlap_the_hardest_stays():
    # IoU 0.8 and 0.6 with the first, 0.75 between the two.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]]
    assert hard([[0.1], [0.3], [0.2]], boxes) == [1]
    assert hard([[0.3], [0.2], [0.1]], boxes) == [0, 2]
    assert hard([[0.3], [0.2], [0.1]], boxes, known=[0]) == [2]  # the known one still stands for its duplicate
    assert hard([[0.3], [0.2], [0.1]], boxes, duplicate_iou=0.5) == [0]


def test_only_scores_of_classes_a_region_is_a_negative_of_count():
    targets = svm_targets(SCENE, 2, SVMConfig())
    scores = torch.full((len(NAMES), 2), -5.0)
    scores[:, 0] = 2.0  # everything looks like the first class
    found = hard_negatives(SCENE, scores, targets, torch.zeros(0, dtype=torch.int64), SVMConfig(duplicate_iou=1.0))
    assert set(names(found)) == {"second", "corner", "border", "by difficult", "far"}


def test_softmax_examples_by_hand_and_their_share():
    indices, labels = softmax_examples(SCENE, SoftmaxConfig(foreground_iou=0.5, background_iou=0.1), RNG(0))
    found = dict(zip(names(indices), labels.tolist(), strict=True))
    # A region on the difficult object is neither; one that touches nothing is no background in [0.1, 0.5).
    assert found == {"first": 1, "second": 2, "exact": 1, "near": 1, "partial": 0, "corner": 0, "border": 0}
    indices, labels = softmax_examples(SCENE, SoftmaxConfig(regions_per_image=4, foreground=0.25), RNG(0))
    assert (len(indices), int((labels > 0).sum())) == (4, 1)
    _, labels = softmax_examples(EMPTY, SoftmaxConfig(regions_per_image=5), RNG(0))
    assert labels.tolist() == [0] * 5


def test_box_regression_examples_by_hand():
    settings = BoxRegressionConfig(iou=0.35)
    indices, labels, targets, _ = box_regression_examples(SCENE, [16, 16], settings, RNG(0))
    assert names(indices) == ["exact", "near", "partial"]  # neither objects nor what lies on the difficult one
    assert labels.tolist() == [1, 1, 1]
    moved = decode_boxes(SCENE.boxes[indices], targets)
    torch.testing.assert_close(moved, SCENE.annotations.boxes[:1].expand(3, 4), rtol=0, atol=1e-4)
    assert names(box_regression_examples(SCENE, [16, 16], BoxRegressionConfig(iou=0.6), RNG(0))[0]) == ["exact"]


def test_box_regression_examples_are_bounded_a_class_and_counted_without_a_bound_or_none():
    config = BoxRegressionConfig(iou=0.25)
    assert box_regression_examples(SCENE, [2, 0], config, RNG(0))[1].tolist() == [1, 1]
    for regions, expected in ((SCENE, [3, 1, 0]), (EMPTY, [0, 0, 0])):
        assert box_regression_examples(regions, [1, 1, 1], config, RNG(0))[-1].tolist() == expected
    for regions in (EMPTY, regions_of(OBJECTS, [1, 1, 1], [True] * 3, list(PROPOSALS.values()))):
        indices, labels, targets, _ = box_regression_examples(regions, [16], BoxRegressionConfig(), RNG(0))
        assert (len(indices), len(labels), targets.shape) == (0, 0, (0, 4))
        assert labels.dtype == torch.int64


def test_sampling_leaves_the_regions_as_they_are():
    before = SCENE.iou.clone(), SCENE.boxes.clone()
    box_regression_examples(SCENE, [16, 16], BoxRegressionConfig(), RNG(0))
    softmax_examples(SCENE, SoftmaxConfig(), RNG(0))
    svm_targets(SCENE, 2, SVMConfig())
    assert torch.equal(SCENE.iou, before[0])
    assert torch.equal(SCENE.boxes, before[1])
