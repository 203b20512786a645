"""Normalized AP by object size: worked out by hand, and against a loop over exact fractions."""

from collections import Counter
from fractions import Fraction
from math import isnan, sqrt

import numpy as np
import pytest
from factories import annotate, detect
from hypothesis import given, strategies as st

from sppdet.evaluation.matching import match_classes
from sppdet.evaluation.sizes import SIZES, evaluate_sizes, normalized_precisions, size_classes
from sppdet.evaluation.voc import Curve, average_precision_area
from sppdet.structures import Detections

FAR = [900, 900, 910, 910]
EMPTY = annotate(name="b")


def sizes_of(detections, images):
    """With enough images without anything that there are 20 in all, and N is 3."""
    rest = 20 - len(images)
    detections, images = [*detections, *[Detections.empty()] * rest], [*images, *[EMPTY] * rest]
    return evaluate_sizes(next(match_classes(detections, images, 1)), images, 1)


def curve_of(right: str, positives: int) -> Curve:
    topk_correct = np.array([letter == "+" for letter in right], dtype=np.int64)
    return Curve(np.cumsum(topk_correct), np.linspace(1, 0, len(topk_correct), dtype=np.float32), positives)


@pytest.mark.parametrize(
    ("objects", "counts"),
    [
        (0, (0, 0, 0, 0, 0)),
        (1, (0, 0, 1, 0, 0)),
        (2, (0, 1, 0, 1, 0)),
        (3, (0, 1, 1, 1, 0)),
        (5, (1, 1, 2, 1, 0)),
        (10, (1, 2, 4, 2, 1)),
        (1000, (100, 200, 400, 200, 100)),
    ],
)
def test_sizes_are_percentiles(objects, counts) -> None:
    areas = np.random.default_rng(objects).permutation(objects) + 1.0
    sizes = size_classes(areas)
    assert tuple(np.bincount(sizes, minlength=5)) == counts
    assert (np.diff(sizes[np.argsort(areas)]) >= 0).all()


def test_equal_areas_are_of_one_size() -> None:
    """Of ten, the third smallest ends the small ones; three more are as large as it."""
    assert size_classes(np.array([1.0, 2, 5, 5, 5, 5, 8, 9, 9, 10])).tolist() == [0, 1, 1, 1, 1, 1, 2, 3, 3, 4]
    assert set(size_classes(np.full(10, 7.0)).tolist()) == {0}


def test_normalized_precisions_by_hand() -> None:
    """One of two found after one error: R = 1/2, F = 1; with N = 6, P_N = 3 / (3 + 1)."""
    assert normalized_precisions(curve_of("-+", 2), 6).tolist() == [3 / 4, 0]
    assert normalized_precisions(curve_of("+--", 2), 6).tolist() == [1, 0]
    assert normalized_precisions(curve_of("-+-+", 2), 6).tolist() == [3 / 4, 3 / 4]  # 6 / (6 + 2) at the second, too
    assert normalized_precisions(curve_of("-+-+", 2), 2).tolist() == [1 / 2, 1 / 2]
    assert normalized_precisions(curve_of("", 2), 6).tolist() == [0, 0]
    assert normalized_precisions(curve_of("--", 2), 6).tolist() == [0, 0]
    assert normalized_precisions(curve_of("--", 0), 6).tolist() == []


@pytest.mark.parametrize("right", ["+-+--+", "-+-+", "---", "++++++"])
def test_with_as_many_positives_it_is_plain_ap(right) -> None:
    curve = curve_of(right, 7)
    assert normalized_precisions(curve, 7).mean() == pytest.approx(average_precision_area(curve), abs=1e-15)


def test_precision_does_not_depend_on_how_many_objects_there_are() -> None:
    few, many = (normalized_precisions(curve_of("-" + n * "+", 2 * n), 6).max() for n in (1, 50))
    assert few == many == 3 / 4


# Ten objects, 10 wide and 1 to 10 high; the detector errs once and then finds all but the first and the third.
TEN = [[20 * k, 0, 20 * k + 10, k] for k in range(1, 11)]
FOUND = [FAR, *(box for k, box in enumerate(TEN) if k not in (0, 2))]


def test_sizes_by_hand() -> None:
    """N = 3 and F = 1: P_N is 3 / (3 + 1) where all of a size are found, 1.5 / (1.5 + 1) where half of them are."""
    sizes = sizes_of([detect(FOUND)], [annotate(TEN)])
    assert tuple(sizes) == ("all", *SIZES)
    assert {name: size.objects for name, size in sizes.items()} == {"all": 10, "XS": 1, "S": 2, "M": 4, "L": 2, "XL": 1}
    ap_n = {name: size.ap_n for name, size in sizes.items()}
    full = 2.4 / (2.4 + 1)
    assert ap_n == pytest.approx({"all": 0.8 * full, "XS": 0, "S": 0.3, "M": 0.75, "L": 0.75, "XL": 0.75}, abs=1e-15)
    assert sizes["S"].standard_error == pytest.approx(0.3, abs=1e-15)  # of 0.6 and 0
    assert sizes["M"].standard_error == 0
    assert sizes["all"].standard_error == pytest.approx(full * sqrt((8 * 0.2**2 + 2 * 0.8**2) / 9 / 10), abs=1e-15)
    assert isnan(sizes["XS"].standard_error)


def test_a_second_detection_is_an_error_for_every_size() -> None:
    sizes = sizes_of([detect([TEN[9], TEN[9], TEN[8], TEN[5]])], [annotate(TEN)])
    assert sizes["XL"].ap_n == 1  # it comes after the only one of this size
    assert sizes["L"].ap_n == pytest.approx(1.5 / 2.5 / 2)
    assert sizes["M"].ap_n == pytest.approx(0.75 / 1.75 / 4)


def test_difficult_objects_with_their_matches_and_other_classes_count_as_nothing() -> None:
    plain, huge = sizes_of([detect(FOUND)], [annotate(TEN)]), [300, 0, 800, 500]
    with_difficult = sizes_of([detect([huge, huge, *FOUND])], [annotate([huge, *TEN], difficult=[True] + [False] * 10)])
    with_another = sizes_of([detect(FOUND)], [annotate([huge, *TEN], labels=[2] + [1] * 10)])
    assert str(with_difficult) == str(with_another) == str(plain)


def test_objects_are_ranked_over_all_images() -> None:
    together = sizes_of([detect(FOUND)], [annotate(TEN)])
    images = [annotate(TEN[k : k + 3]) for k in (0, 3, 6, 9)]
    scores = {tuple(box): 1 - k / 64 for k, box in enumerate(FOUND)}
    parts = [[FAR, TEN[1]], TEN[3:6], TEN[6:9], TEN[9:]]
    apart = sizes_of([detect(boxes, [scores[tuple(box)] for box in boxes]) for boxes in parts], images)
    assert str(apart) == str(together)


@pytest.mark.parametrize("images", [[], [EMPTY]])
def test_without_objects_all_is_nan(images) -> None:
    detections = [detect([FAR])] * len(images)
    sizes = evaluate_sizes(next(match_classes(detections, images, 1)), images, 1)
    assert [size.objects for size in sizes.values()] == [0] * 6
    assert all(isnan(size.ap_n) and isnan(size.standard_error) for size in sizes.values())


# The oracle: disjoint objects of given areas, each found or missed at a given rank among errors.


def slow_sizes(areas) -> list[int]:
    """How many of the four bounds each area exceeds: as many objects as the bound's rank are smaller than it."""
    ranks = [int(Fraction(tenths * len(areas), 10) + Fraction(1, 2)) for tenths in (1, 3, 7, 9)]
    return [sum(sum(other < area for other in areas) >= rank for rank in ranks) for area in areas]


def slow_ap_n(events, objects, normal) -> float:
    """events: True for an object found, False for an error."""
    points = []
    for n, event in enumerate(events, start=1):
        scaled = Fraction(sum(events[:n]), objects) * normal
        points.append((event, scaled / (scaled + n - sum(events[:n]))))
    best = [max(p for _, p in points[n:]) for n, (event, _) in enumerate(points) if event]
    return float(sum(best, Fraction(0)) / objects)


objects = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=14)  # height, found


@given(objects, st.randoms(use_true_random=False), st.integers(0, 6))
def test_equals_the_slow_oracle(things, random, errors) -> None:
    boxes = [[20 * k, 0, 20 * k + 10, height] for k, (height, _) in enumerate(things)]
    queue = [k for k, (_, found) in enumerate(things) if found] + [None] * errors
    random.shuffle(queue)
    found = detect([FAR if k is None else boxes[k] for k in queue])
    sizes = sizes_of([found], [annotate(boxes)])
    expected = slow_sizes([10 * height for height, _ in things])
    assert {name: size.objects for name, size in sizes.items() if name != "all"} == {
        name: Counter(expected)[k] for k, name in enumerate(SIZES)
    }
    for k, name in enumerate(SIZES):
        if sizes[name].objects:
            events = [thing is not None for thing in queue if thing is None or expected[thing] == k]
            assert sizes[name].ap_n == pytest.approx(slow_ap_n(events, sizes[name].objects, 3), abs=1e-12)
    if things:
        events = [thing is not None for thing in queue]
        assert sizes["all"].ap_n == pytest.approx(slow_ap_n(events, len(things), 3), abs=1e-12)
