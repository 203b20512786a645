"""A second VOC average precision beside ours on scenes of every kind. Cases worked out by hand hold both to the same
numbers."""

from collections.abc import Callable
from math import isnan

import pytest
from factories import examples
from hypothesis import Phase, find, given, settings, strategies as st
from voc_oracle import Box, Image, average_precisions, count_positives, grid_scenes, judge, records_of

from sppdet.evaluation.voc import VOCResult, evaluate_voc

CLASSES = ("one", "two", "nowhere")


def verdicts_of(images: list[Image], label: int) -> list[str]:
    return [verdict for verdict, *_ in judge(images, label)]


def devkit_ap(images: list[Image], label: int) -> tuple[float, float]:
    judged = [verdict == "right" for verdict in verdicts_of(images, label) if verdict != "ignored"]
    return average_precisions(judged, count_positives(images, label))


def evaluate_ours(images: list[Image]) -> VOCResult:
    return evaluate_voc(*records_of(images), CLASSES)


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
    "a duplicate beside another object": ([(easy(A, PART_OF_A), found(A, MOST_OF_A))], "right duplicate", 6 / 11, 0.5),
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
    "images without detections keep objects": ([(easy(A), found(A)), (easy(A), []), ([], [])], "right", 6 / 11, 0.5),
    # The order is over all images.
    "one without objects": ([(easy(A), found(A, scores=(0.8,))), ([], found(A))], "wrong right", 0.5, 0.5),
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
    assert verdicts_of(images, 1) == verdicts.split()
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
QUICK = settings(max_examples=2000, database=None, derandomize=True, phases=[Phase.generate])


@examples(400)
@given(scenes | grid_scenes(classes=2))
def test_equals_the_devkit(scene) -> None:
    ours = evaluate_ours(scene)
    for label, aps in enumerate(zip(ours.ap_voc07, ours.ap_area, strict=True), start=1):
        assert aps == pytest.approx(devkit_ap(scene, label), abs=1e-12, nan_ok=True)


def has_verdicts(*verdicts: str) -> Callable[[list[Image]], bool]:
    return lambda scene: any(set(verdicts) <= set(verdicts_of(scene, label)) for label in (1, 2))


def has_tie(scene: list[Image]) -> bool:
    """Equal scores of one class, of which one detection is right and another wrong, so that their order counts."""
    for label in (1, 2):
        ranked = sorted(-score for _, found in scene for _, of, score in found if of == label)
        verdicts = verdicts_of(scene, label)
        pairs = zip(zip(ranked, verdicts, strict=True), zip(ranked[1:], verdicts[1:], strict=True), strict=False)
        if any(a == b and {one, two} == {"right", "wrong"} for (a, one), (b, two) in pairs):
            return True
    return False


@pytest.mark.parametrize(
    "situation",
    [
        has_verdicts("right", "wrong", "duplicate", "ignored"),
        has_tie,
        lambda scene: (
            count_positives(scene, 1) == 0 and len(verdicts_of(scene, 1)) > 1 and count_positives(scene, 2) > 0
        ),
        lambda scene: any(objects and not found for objects, found in scene) and has_verdicts("right")(scene),
        lambda scene: any(found and not objects for objects, found in scene) and has_verdicts("right")(scene),
        lambda scene: 0.3 < devkit_ap(scene, 1)[0] < 0.9 and len(verdicts_of(scene, 1)) > 4,
    ],
    ids=["all verdicts", "tie", "class without positives", "nothing found", "no objects", "AP between"],
)
def test_the_scenes_hold_every_situation(situation) -> None:
    assert situation(find(scenes, situation, settings=QUICK))
