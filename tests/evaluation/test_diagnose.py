"""Kinds of false positives and what they cost: worked out by hand, and against loops over exact fractions."""

from fractions import Fraction
from math import isnan

import pytest
from factories import annotate, detect
from hypothesis import given
from voc_oracle import average_precisions, count_positives, grid_scenes, judge, overlap, records_of

from sppdet.data.formats.voc import VOC_CLASSES
from sppdet.evaluation.diagnose import APS, OUTCOMES, VOC_SIMILAR, diagnose
from sppdet.evaluation.voc import evaluate_voc

CLASSES = ("cat", "dog", "car")  # cats and dogs are similar
CAT, DOG, CAR = 1, 2, 3
A, B, C = ([x, 0, x + 10, 10] for x in (0, 100, 200))
FAR = [900, 900, 910, 910]


def top(box, height) -> list[float]:
    """The uppermost part of a box of height 10, whose IoU with it is height / 10."""
    return [*box[:3], height]


def outcomes_of(detections, images, name="cat", **options) -> list[str]:
    return [OUTCOMES[k] for k in diagnose(detections, images, CLASSES, **options).classes[name].outcomes]


ONE_OF_EACH = annotate([A, B, C], [CAT, DOG, CAR])
EMPTY_IN_A = [5, 5, 5, 5]
KINDS = {
    "correct": [A, top(A, 5)],
    "localisation": [top(A, 4.99), top(A, 1)],
    "similar": [B, top(B, 1)],
    "other": [C, top(C, 1)],
    "background": [*(top(box, 0.99) for box in (A, B, C)), FAR, EMPTY_IN_A],
}


@pytest.mark.parametrize(("box", "kind"), [(box, kind) for kind, boxes in KINDS.items() for box in boxes])
def test_the_kind_of_one_detection(box, kind) -> None:
    assert outcomes_of([detect([box])], [ONE_OF_EACH]) == [kind]


@pytest.mark.parametrize(
    ("detections", "images", "kinds"),
    [
        # The first kind that fits counts, however little it overlaps.
        ([detect([A])], [annotate([top(A, 1), A, A], [CAT, DOG, CAR])], "localisation"),
        ([detect([A])], [annotate([A, top(A, 1)], [CAR, DOG])], "similar"),
        ([detect([A])], [annotate([A], [CAR])], "other"),
        # A second detection is an error of localisation, objects of other images do not matter, ...
        ([detect([A, top(A, 9), A])], [ONE_OF_EACH], "correct localisation localisation"),
        ([detect(), detect([A])], [ONE_OF_EACH, annotate()], "background"),
        # ... and equal scores keep the order given.
        ([detect([FAR, A, B], [0.5] * 3)], [ONE_OF_EACH], "background correct similar"),
        ([detect([B, A, FAR], [0.5] * 3)], [ONE_OF_EACH], "similar correct background"),
        ([detect([C], [0.5]), detect([FAR, A], [0.75, 0.5])], [ONE_OF_EACH] * 2, "background other correct"),
    ],
)
def test_the_kinds_of_several_detections(detections, images, kinds) -> None:
    assert outcomes_of(detections, images) == kinds.split()


def test_difficult_objects() -> None:
    """A match of one is nothing at all, but not even its duplicates are errors; less overlap is, as with others."""
    image = annotate([A, B], [CAT, DOG], difficult=[True, True])
    found = detect([A, A, top(A, 4), B])
    assert outcomes_of([found], [image]) == ["localisation", "similar"]
    diagnosis = diagnose([found], [image], CLASSES).classes["cat"]
    assert diagnosis.positives == 0
    assert isnan(diagnosis.ap["as_is"])


def test_each_class_has_its_own_point_of_view() -> None:
    found = detect([A, A, A], labels=[CAT, DOG, CAR])
    outcomes = [outcomes_of([found], [annotate([A], [DOG])], name) for name in CLASSES]
    assert outcomes == [["similar"], ["correct"], ["other"]]


# Three cats; first 1 detection of a car, 2 of dogs, 3 of nothing, then cat A, A again, B, and C badly placed.
SCENE = annotate([A, B, C, [300, 0, 310, 10], [400, 0, 410, 10]], [CAT, CAT, CAT, CAR, DOG])
FOUND = detect([[300, 0, 310, 10], *[[400, 0, 410, 10]] * 2, *[FAR] * 3, A, A, B, top(C, 4)])


def test_what_errors_cost_and_counts_by_hand() -> None:
    """Precisions at A and B are 1/7 and 2/9, so AP is 2 · 2/9 / 3; and so on."""
    diagnosis = diagnose([FOUND], [SCENE], CLASSES).classes["cat"]
    expected = {
        "as_is": 4 / 27,
        "localisation_corrected": 1 / 3,  # 1/7, 2/8, 3/9
        "without_localisation": 1 / 6,  # 1/7, 2/8
        "without_similar": 4 / 21,  # 1/5, 2/7
        "without_other": 1 / 6,  # 1/6, 2/8
        "without_background": 2 / 9,  # 1/4, 2/6
        "without_other_and_background": 4 / 15,  # 1/3, 2/5
    }
    assert tuple(diagnosis.ap) == APS
    assert diagnosis.ap == pytest.approx(expected, abs=1e-15)
    counts = [tuple(diagnosis.counts(multiple).values()) for multiple in (1 / 8, 1 / 2, 1, 2, 4)]
    assert counts == [(0, 0, 0, 1, 0), (0, 0, 1, 1, 0), (0, 0, 2, 1, 0), (0, 0, 2, 1, 3), (2, 2, 2, 1, 3)]
    assert tuple(diagnosis.counts()) == OUTCOMES


def test_correction_removes_the_detections_that_follow_and_cannot_find_difficult_objects() -> None:
    """The badly placed one becomes the object's match; the good one, now its second, is removed: nothing is wrong."""
    ap = diagnose([detect([top(A, 4), A, FAR])], [ONE_OF_EACH], CLASSES).classes["cat"].ap
    assert ap["as_is"] == 1 / 2
    assert ap["localisation_corrected"] == ap["without_localisation"] == 1
    image = annotate([A, B], difficult=[True, False])
    ap = diagnose([detect([top(A, 4), B])], [image], CLASSES).classes["cat"].ap
    assert (ap["as_is"], ap["localisation_corrected"]) == (1 / 2, 1)


def test_means_are_over_classes_with_objects() -> None:
    """Cats: one right, one in the background; cars: one missed, one in the background; dogs: a detection, no object."""
    image = annotate([A, B, C], [CAT, CAT, CAR])
    diagnosis = diagnose([detect([A, FAR, FAR, FAR], labels=[CAT, CAT, CAR, DOG])], [image], CLASSES)
    dog = diagnosis.classes["dog"]
    assert dog.outcomes.tolist() == [OUTCOMES.index("background")]
    assert sum(dog.counts(8).values()) == dog.positives == 0
    assert all(isnan(value) for value in dog.ap.values())
    assert all(isnan(size.ap_n) for size in dog.sizes.values())
    assert diagnosis.fractions() == {"correct": 1 / 4, "localisation": 0, "similar": 0, "other": 0, "background": 3 / 4}
    assert diagnosis.ap == pytest.approx(dict.fromkeys(APS, (1 / 2 + 0) / 2))


def test_classes_and_images_without_detections() -> None:
    """The classes do not count among the fractions; the images still count their objects."""
    diagnosis = diagnose([detect([FAR])], [ONE_OF_EACH], CLASSES)
    assert diagnosis.fractions()["background"] == 1
    assert diagnosis.ap["as_is"] == 0
    cat = diagnose([detect([A]), detect()], [ONE_OF_EACH, ONE_OF_EACH], CLASSES).classes["cat"]
    assert (cat.positives, cat.ap["as_is"]) == (2, 1 / 2)


@pytest.mark.parametrize(("detections", "images"), [([], []), ([detect(), detect()], [annotate(), annotate()])])
@pytest.mark.parametrize("classes", [(), CLASSES])
def test_nothing_at_all_is_nan(detections, images, classes) -> None:
    diagnosis = diagnose(detections, images, classes)
    values = [*diagnosis.fractions().values(), *diagnosis.ap.values(), *diagnosis.ap_n.values()]
    assert len(values) == 5 + 7 + 6
    assert all(isnan(value) for value in values)


def test_similar_classes_of_voc() -> None:
    assert len(VOC_CLASSES) == 20
    assert {"bottle", "pottedplant", "tvmonitor"}.union(*VOC_SIMILAR) == set(VOC_CLASSES)
    names = sorted(VOC_CLASSES)
    assert names == list(VOC_CLASSES)
    image = annotate([[20 * k, 0, 20 * k + 10, 10] for k in range(20)], list(range(1, 21)))

    def confused_with(name: str) -> set[str]:
        found = detect(image.boxes.tolist(), labels=[names.index(name) + 1] * 20)
        outcomes = diagnose([found], [image], names).classes[name].outcomes.tolist()
        assert outcomes.count(0) == 1
        return {other for other, k in zip(names, outcomes, strict=True) if OUTCOMES[k] == "similar"}

    assert confused_with("person") == {"bird", "cat", "cow", "dog", "horse", "sheep"}
    assert confused_with("train") == {"aeroplane", "bicycle", "boat", "bus", "car", "motorbike"}
    assert confused_with("aeroplane") == {"bicycle", "bird", "boat", "bus", "car", "motorbike", "train"}
    assert confused_with("sofa") == {"chair", "diningtable"}
    assert confused_with("bottle") == set()


def test_other_data_sets_have_the_similar_classes_they_are_given() -> None:
    image, found = annotate([B], [DOG]), detect([B])
    kinds = {}
    for similar in (None, [["cat", "truck"]], [["truck"], ["dog", "cat"]]):
        outcomes = diagnose([found], [image], ["cat", "dog", "truck"], similar).classes["cat"].outcomes
        kinds[str(similar)] = [OUTCOMES[k] for k in outcomes]
    assert list(kinds.values()) == [["other"], ["other"], ["similar"]]
    assert outcomes_of([found], [image], similar=[]) == ["other"]


def test_as_dict() -> None:
    result = diagnose([FOUND], [SCENE], CLASSES).as_dict()
    cat = result["per_class"]["cat"]
    assert cat["positives"] == 3
    assert cat["top"] == {"correct": 0, "localisation": 0, "similar": 2, "other": 1, "background": 0}
    assert cat["trend"][4] == {"multiple": 2, **cat["top"], "background": 3}
    assert cat["ap"]["as_is"] == pytest.approx(4 / 27)
    assert set(cat["sizes"]) == {"all", "XS", "S", "M", "L", "XL"}
    assert set(cat["sizes"]["M"]) == {"objects", "ap_n", "standard_error"}
    assert result["mean"]["top"]["similar"] == pytest.approx(2 / 3)
    assert result["mean"]["ap"]["as_is"] == pytest.approx(4 / 27 / 3)  # dogs and cars are there too, and missed
    assert set(result["mean"]["ap_n"]) == set(cat["sizes"])


def slow_outcomes(scene, label, corrected=False) -> list[str]:
    """The outcome of each detection of the class; corrected ones say only "correct" or "wrong"."""
    outcomes = []
    for verdict, number, box in judge(scene, label, Fraction(1, 10) if corrected else Fraction(1, 2)):
        touched = {of for target, of, _ in scene[number][0] if overlap(box, target) >= Fraction(1, 10)}
        if verdict == "right":
            outcomes.append("correct")
        elif verdict == "ignored" or (corrected and verdict == "duplicate"):
            continue
        elif corrected:
            outcomes.append("wrong")
        elif label in touched:
            outcomes.append("localisation")
        elif {CAT: DOG, DOG: CAT, CAR: None}[label] in touched:
            outcomes.append("similar")
        else:
            outcomes.append("other" if touched else "background")
    return outcomes


def slow_ap(outcomes, positives) -> float:
    return average_precisions([outcome == "correct" for outcome in outcomes], positives)[1]


@given(grid_scenes(classes=3))
def test_equals_the_slow_oracle(scene) -> None:
    detections, images = records_of(scene)
    diagnosis = diagnose(detections, images, CLASSES)
    plain = evaluate_voc(detections, images, CLASSES)
    for k, part in enumerate(diagnosis.classes.values(), start=1):
        outcomes = slow_outcomes(scene, k)
        positives = count_positives(scene, k)
        assert part.positives == positives
        assert [OUTCOMES[outcome] for outcome in part.outcomes] == outcomes
        expected = {"as_is": slow_ap(outcomes, positives)}
        expected["localisation_corrected"] = slow_ap(slow_outcomes(scene, k, corrected=True), positives)
        for kind in OUTCOMES[1:]:
            expected[f"without_{kind}"] = slow_ap([outcome for outcome in outcomes if outcome != kind], positives)
        both = [outcome for outcome in outcomes if outcome not in ("other", "background")]
        expected["without_other_and_background"] = slow_ap(both, positives)
        assert part.ap == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert part.ap["as_is"] == pytest.approx(plain.ap_area[k - 1], abs=1e-15, nan_ok=True)
        if positives:
            assert all(value >= part.ap["as_is"] for value in part.ap.values())
            assert part.ap["localisation_corrected"] >= part.ap["without_localisation"]
