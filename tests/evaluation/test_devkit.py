"""A second VOC average precision, written from the description of the devkit, beside ours on scenes of every kind.

Plain loops on tuples and fractions, in the devkit's own pixels (1-based, both corners inside): nothing is shared with
the package, not even what a box's area is. Cases worked out by hand hold both to the same numbers.
"""

from collections.abc import Callable
from fractions import Fraction
from math import isnan, nan

import pytest
from factories import annotate, detect, examples
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from sppdet.evaluation.voc import evaluate_voc

Box = tuple[int, int, int, int]
Image = tuple[list[tuple[Box, int, bool]], list[tuple[Box, int, float]]]  # (box, label, difficult), (box, label, score)
CLASSES = ("one", "two", "nowhere")
HALF = Fraction(1, 2)


def overlap(found: Box, target: Box) -> Fraction:
    """Corners (xmin, ymin, xmax, ymax) are inside: a box has xmax - xmin + 1 columns."""
    columns = min(found[2], target[2]) - max(found[0], target[0]) + 1
    rows = min(found[3], target[3]) - max(found[1], target[1]) + 1
    if columns <= 0 or rows <= 0:
        return Fraction(0)
    size = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (found, target)]
    return Fraction(columns * rows, sum(size) - columns * rows)


def judge(images: list[Image], label: int) -> list[str]:
    """right, wrong, duplicate or ignored for each detection of the class, best score first."""
    ranked = [
        (score, number, box) for number, (_, found) in enumerate(images) for box, of, score in found if of == label
    ]
    ranked.sort(key=lambda entry: -entry[0])
    taken: set[tuple[int, int]] = set()
    verdicts = []
    for _, number, (x1, y1, x2, y2) in ranked:
        best, match = Fraction(-1), None
        for place, ((a1, b1, a2, b2), of, _) in enumerate(images[number][0]):
            if of != label:
                continue
            shared = overlap((x1 + 1, y1 + 1, x2, y2), (a1 + 1, b1 + 1, a2, b2))
            if shared > best:
                best, match = shared, place
        if match is None or best < HALF:
            verdicts.append("wrong")
        elif images[number][0][match][2]:
            verdicts.append("ignored")
        elif (number, match) in taken:
            verdicts.append("duplicate")
        else:
            taken.add((number, match))
            verdicts.append("right")
    return verdicts


def count_positives(images: list[Image], label: int) -> int:
    return sum(of == label and not hard for objects, _ in images for _, of, hard in objects)


def devkit_ap(images: list[Image], label: int) -> tuple[float, float]:
    """AP of VOC2007 (11 points) and of VOC2010 (area, by the corners of the curve); NaN without positives."""
    positives = count_positives(images, label)
    if positives == 0:
        return nan, nan
    right = wrong = 0
    recall, precision = [], []
    for verdict in judge(images, label):
        right += verdict == "right"
        wrong += verdict in ("wrong", "duplicate")
        recall.append(Fraction(right, positives))
        precision.append(Fraction(right, right + wrong) if right + wrong else Fraction(0))
    ap_voc07 = Fraction(0)
    for tenth in range(11):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= Fraction(tenth, 10)]
        ap_voc07 += max(reached, default=Fraction(0)) / 11
    recall = [Fraction(0), *recall, Fraction(1)]
    precision = [Fraction(0), *precision, Fraction(0)]
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    ap_area = sum(
        (recall[k] - recall[k - 1]) * precision[k] for k in range(1, len(recall)) if recall[k] != recall[k - 1]
    )
    return float(ap_voc07), float(ap_area)


def evaluate_ours(images: list[Image]) -> dict[str, tuple[float, float]]:
    annotations, detections = [], []
    for number, (objects, found) in enumerate(images):
        boxes, labels, difficult = ([entry[k] for entry in objects] for k in range(3))
        annotations.append(annotate(boxes, labels, difficult, f"{number}"))
        boxes, labels, scores = ([entry[k] for entry in found] for k in range(3))
        detections.append(detect(boxes, scores, labels))
    result = evaluate_voc(detections, annotations, CLASSES)
    return dict(zip(CLASSES, zip(result.ap_voc07, result.ap_area, strict=True), strict=True))


A, B, C, NOWHERE = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (80, 80, 90, 90)
HALF_A, UNDER_HALF_A, MOST_OF_A = (0, 0, 10, 5), (0, 0, 10, 4), (0, 0, 10, 9)

# Of the class "one", by hand: what each detection is, then 11 points and area.
PINNED: dict[str, tuple[list[Image], list[str], Fraction, Fraction]] = {
    # Precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: six points at 1, five at 2/3.
    "right, wrong, right": (
        [([(A, 1, False), (B, 1, False)], [(A, 1, 0.9), (NOWHERE, 1, 0.8), (B, 1, 0.7)])],
        ["right", "wrong", "right"],
        Fraction(28, 33),
        Fraction(5, 6),
    ),
    "difficult objects, found twice, count as nothing": (
        [
            (
                [(A, 1, True), (B, 1, False), (C, 1, False)],
                [(A, 1, 0.9), (MOST_OF_A, 1, 0.8), (B, 1, 0.7), (NOWHERE, 1, 0.6), (C, 1, 0.5)],
            )
        ],
        ["ignored", "ignored", "right", "wrong", "right"],
        Fraction(28, 33),
        Fraction(5, 6),
    ),
    "only the difficult object is found": (
        [([(A, 1, True), (B, 1, False)], [(A, 1, 0.9)])],
        ["ignored"],
        Fraction(0),
        Fraction(0),
    ),
    # As right, wrong, right.
    "duplicates are wrong": (
        [([(A, 1, False), (B, 1, False)], [(A, 1, 0.9), (MOST_OF_A, 1, 0.8), (B, 1, 0.7)])],
        ["right", "duplicate", "right"],
        Fraction(28, 33),
        Fraction(5, 6),
    ),
    "a duplicate of an object, while another free one would do": (
        [([(A, 1, False), ((0, 0, 10, 6), 1, False)], [(A, 1, 0.9), (MOST_OF_A, 1, 0.8)])],
        ["right", "duplicate"],
        Fraction(6, 11),
        Fraction(1, 2),
    ),
    "ties keep the order given, wrong first": (
        [([(A, 1, False)], [(NOWHERE, 1, 0.5), (A, 1, 0.5)])],
        ["wrong", "right"],
        HALF,
        HALF,
    ),
    "ties keep the order given, right first": (
        [([(A, 1, False)], [(A, 1, 0.5), (NOWHERE, 1, 0.5)])],
        ["right", "wrong"],
        Fraction(1),
        Fraction(1),
    ),
    # Precisions 0, 1/2, 1/3, 1/2 at recalls 0, 1/2, 1/2, 1.
    "ties across images keep the images' order": (
        [([(A, 1, False)], [(NOWHERE, 1, 0.5), (A, 1, 0.5)]), ([(B, 1, False)], [(NOWHERE, 1, 0.5), (B, 1, 0.5)])],
        ["wrong", "right", "wrong", "right"],
        HALF,
        HALF,
    ),
    "images without detections keep their objects": (
        [([(A, 1, False)], [(A, 1, 0.9)]), ([(A, 1, False)], []), ([], [])],
        ["right"],
        Fraction(6, 11),
        HALF,
    ),
    "images without objects keep their detections": (
        [([], [(A, 1, 0.9)]), ([(A, 1, False)], [(A, 1, 0.8)])],
        ["wrong", "right"],
        HALF,
        HALF,
    ),
    "an overlap of a half is enough": ([([(A, 1, False)], [(HALF_A, 1, 0.9)])], ["right"], Fraction(1), Fraction(1)),
    "less is not": ([([(A, 1, False)], [(UNDER_HALF_A, 1, 0.9)])], ["wrong"], Fraction(0), Fraction(0)),
    "an object of another class is none": (
        [([(A, 2, False), (B, 1, False)], [(A, 1, 1.0)])],
        ["wrong"],
        Fraction(0),
        Fraction(0),
    ),
    # 3 of 10 reach the recalls 0, 0.1, 0.2 and 0.3, at precision 1.
    "three tenths are reached by three of ten": (
        [([((20 * k, 0, 20 * k + 10, 10), 1, False) for k in range(10)], [(A, 1, 3.0), (B, 1, 2.0), (C, 1, 1.0)])],
        ["right"] * 3,
        Fraction(4, 11),
        Fraction(3, 10),
    ),
}


@pytest.mark.parametrize("case", PINNED.values(), ids=PINNED)
def test_hand_worked(case) -> None:
    images, verdicts, ap_voc07, ap_area = case
    assert judge(images, 1) == verdicts
    for numbers in (devkit_ap(images, 1), evaluate_ours(images)["one"]):
        assert numbers == pytest.approx((float(ap_voc07), float(ap_area)), abs=1e-15)


@pytest.mark.parametrize(
    "objects", [[], [(A, 1, True)], [(A, 2, False)]], ids=["none", "difficult", "of another class"]
)
def test_a_class_without_positives_has_no_number(objects) -> None:
    images = [(objects, [(A, 1, 0.9), (B, 1, 0.8)])]
    for numbers in (devkit_ap(images, 1), evaluate_ours(images)["one"]):
        assert all(isnan(number) for number in numbers)


# Few boxes, labels and scores, so that matches, duplicates and ties abound.
boxes = st.sampled_from([A, HALF_A, UNDER_HALF_A, MOST_OF_A, (2, 0, 12, 10), (5, 0, 15, 10), B, C, (3, 3, 3, 8)])
image = st.tuples(
    st.lists(st.tuples(boxes, st.integers(1, 2), st.sampled_from([False, False, True])), max_size=4),
    st.lists(st.tuples(boxes, st.integers(1, 3), st.sampled_from([-1.0, 0.25, 0.5, 2.0])), max_size=6),
)
scenes = st.lists(image, max_size=5)
# Boxes of all sizes, 0 too.
corner, side, label = st.integers(0, 6), st.integers(0, 4), st.integers(1, 2)
grid_box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corner, corner, side, side)
grid_image = st.tuples(
    st.lists(st.tuples(grid_box, label, st.booleans()), max_size=5),
    st.lists(st.tuples(grid_box, label, st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=8),
)
QUICK = settings(max_examples=2000, database=None, derandomize=True, phases=[Phase.generate])


@examples(400)
@given(scenes | st.lists(grid_image, max_size=4))
def test_equals_the_devkit(scene) -> None:
    ours = evaluate_ours(scene)
    for label, name in enumerate(CLASSES, start=1):
        assert ours[name] == pytest.approx(devkit_ap(scene, label), abs=1e-12, nan_ok=True)


def has_verdicts(*verdicts: str) -> Callable[[list[Image]], bool]:
    return lambda scene: any(set(verdicts) <= set(judge(scene, label)) for label in (1, 2))


def has_tie(scene: list[Image]) -> bool:
    """Equal scores of one class, of which one detection is right and another wrong, so that their order counts."""
    for label in (1, 2):
        ranked = sorted(-score for _, found in scene for _, of, score in found if of == label)
        verdicts = judge(scene, label)
        pairs = zip(zip(ranked, verdicts, strict=True), zip(ranked[1:], verdicts[1:], strict=True), strict=False)
        if any(a == b and {one, two} == {"right", "wrong"} for (a, one), (b, two) in pairs):
            return True
    return False


@pytest.mark.parametrize(
    "situation",
    [
        has_verdicts("right", "wrong", "duplicate", "ignored"),
        has_tie,
        lambda scene: count_positives(scene, 1) == 0 and len(judge(scene, 1)) > 1 and count_positives(scene, 2) > 0,
        lambda scene: any(objects and not found for objects, found in scene) and has_verdicts("right")(scene),
        lambda scene: any(found and not objects for objects, found in scene) and has_verdicts("right")(scene),
        lambda scene: 0.3 < devkit_ap(scene, 1)[0] < 0.9 and len(judge(scene, 1)) > 4,
    ],
    ids=["all verdicts", "tie", "class without positives", "nothing found", "no objects", "AP between"],
)
def test_the_scenes_hold_every_situation(situation) -> None:
    find(scenes, situation, settings=QUICK)
