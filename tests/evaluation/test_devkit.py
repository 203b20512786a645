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

from sppdet.evaluation.voc import VOCResult, evaluate_voc

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


def evaluate_ours(images: list[Image]) -> VOCResult:
    annotations = [annotate(*([entry[k] for entry in objects] for k in range(3))) for objects, _ in images]
    detections = [detect(*([entry[k] for entry in found] for k in (0, 2, 1))) for _, found in images]
    return evaluate_voc(detections, annotations, CLASSES)


A, B, C, NOWHERE = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (80, 80, 90, 90)
HALF_A, UNDER_HALF_A, MOST_OF_A, PART_OF_A = ((0, 0, 10, height) for height in (5, 4, 9, 6))
ROW = [(20 * k, 0, 20 * k + 10, 10) for k in range(10)]


def easy(*objects: Box) -> list[tuple[Box, int, bool]]:
    return [(box, 1, False) for box in objects]


def found(*boxes: Box, scores: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5)) -> list[tuple[Box, int, float]]:
    return [(box, 1, score) for box, score in zip(boxes, scores, strict=False)]


TIED = (0.5, 0.5)
# Of the class "one", by hand: what each detection is, then 11 points and area.
PINNED: dict[str, tuple[list[Image], str, float, float]] = {
    # Precisions 1, 1/2, 2/3 at recalls 1/2, 1/2, 1: six points at 1, five at 2/3.
    "right, wrong, right": ([(easy(A, B), found(A, NOWHERE, B))], "right wrong right", 28 / 33, 5 / 6),
    "difficult objects, found twice, count as nothing": (
        [([(A, 1, True), *easy(B, C)], found(A, MOST_OF_A, B, NOWHERE, C))],
        "ignored ignored right wrong right",
        28 / 33,
        5 / 6,
    ),
    "only the difficult object is found": ([([(A, 1, True), *easy(B)], found(A))], "ignored", 0, 0),
    "a difficult object is matched best": ([([(A, 1, True), *easy(PART_OF_A)], found(MOST_OF_A))], "ignored", 0, 0),
    # As right, wrong, right.
    "duplicates are wrong": ([(easy(A, B), found(A, MOST_OF_A, B))], "right duplicate right", 28 / 33, 5 / 6),
    # IoU 9/10 with the first, 2/3 with the other.
    "a duplicate, while another would do": (
        [(easy(A, PART_OF_A), found(A, MOST_OF_A))],
        "right duplicate",
        6 / 11,
        0.5,
    ),
    "the best score takes the object": ([(easy(A), found(A, MOST_OF_A, scores=(0.1, 0.9)))], "right duplicate", 1, 1),
    "ties, wrong first": ([(easy(A), found(NOWHERE, A, scores=TIED))], "wrong right", 0.5, 0.5),
    "ties, right first": ([(easy(A), found(A, NOWHERE, scores=TIED))], "right wrong", 1, 1),
    # Precisions 0, 1/2, 1/3, 1/2 at recalls 0, 1/2, 1/2, 1.
    "ties across images keep the images' order": (
        [(easy(box), found(NOWHERE, box, scores=TIED)) for box in (A, B)],
        "wrong right wrong right",
        0.5,
        0.5,
    ),
    "nothing is found": ([(easy(A), []), ([], [])], "", 0, 0),
    "images without detections keep their objects": (
        [(easy(A), found(A)), (easy(A), []), ([], [])],
        "right",
        6 / 11,
        0.5,
    ),
    "images without objects keep their detections, and the order is over all images": (
        [(easy(A), found(A, scores=(0.8,))), ([], found(A))],
        "wrong right",
        0.5,
        0.5,
    ),
    "an overlap of a half is enough": ([(easy(A), found(HALF_A))], "right", 1, 1),
    "less is not": ([(easy(A), found(UNDER_HALF_A))], "wrong", 0, 0),
    "an object of another class is none": ([([(A, 2, False), *easy(B)], found(A))], "wrong", 0, 0),
    "nor is it matched best": ([([(A, 2, False), *easy(MOST_OF_A)], found(A))], "right", 1, 1),
    # 3 of 10 reach the recalls 0, 0.1, 0.2 and 0.3, at precision 1.
    "three tenths are reached by three of ten": ([(easy(*ROW), found(A, B, C))], "right right right", 4 / 11, 3 / 10),
}


@pytest.mark.parametrize("case", PINNED.values(), ids=PINNED)
def test_hand_worked(case) -> None:
    images, verdicts, *aps = case
    assert judge(images, 1) == verdicts.split()
    assert devkit_ap(images, 1) == pytest.approx(aps, abs=1e-15)
    ours = evaluate_ours(images)
    assert (ours.ap_voc07[0], ours.ap_area[0]) == pytest.approx(aps, abs=1e-15)
    assert ours.curves["one"].correct.tolist() == [name == "right" for name in verdicts.split() if name != "ignored"]


@pytest.mark.parametrize(
    "objects", [[], [(A, 1, True)], [(A, 2, False)]], ids=["none", "difficult", "of another class"]
)
def test_a_class_without_positives_has_no_number(objects) -> None:
    images = [(objects, [(A, 1, 0.9), (B, 1, 0.8)])]
    ours = evaluate_ours(images)
    assert all(isnan(number) for number in (*devkit_ap(images, 1), ours.ap_voc07[0], ours.ap_area[0]))


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
    for label, aps in enumerate(zip(ours.ap_voc07, ours.ap_area, strict=True), start=1):
        assert aps == pytest.approx(devkit_ap(scene, label), abs=1e-12, nan_ok=True)


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
