"""VOC average precision against curves worked out by hand; test_devkit.py holds it against the devkit's loop."""

from math import isnan

import numpy as np
import pytest
from factories import annotate, detect

from sppdet.evaluation.voc import Curve, average_precision_area, average_precision_voc07, evaluate_voc

UNIT = [0, 0, 10, 10]
FAR = [100, 100, 110, 110]
NOWHERE = [50, 50, 60, 60]


def curve_of(detections, images, **options) -> Curve:
    return evaluate_voc(detections, images, ["thing"], **options).curves["thing"]


def test_curve_by_hand() -> None:
    """Right, wrong, right: recalls 1/2, 1/2, 1 at precisions 1, 1/2, 2/3."""
    image = annotate([UNIT, FAR])
    result = evaluate_voc([detect([UNIT, NOWHERE, FAR], [0.9, 0.8, 0.7])], [image], ["thing"])
    curve = result.curves["thing"]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 3]
    assert curve.recall.tolist() == [1 / 2, 1 / 2, 1]
    assert curve.precision.dtype == curve.recall.dtype == np.float64
    assert curve.scores.tolist() == np.float32([0.9, 0.8, 0.7]).tolist()
    assert curve.correct.tolist() == [True, False, True]
    assert curve.positives == 2
    assert result.ap_voc07[0] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11, abs=1e-15)  # recalls 0..0.5, then 0.6..1
    assert result.ap_area[0] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3, abs=1e-15)


def test_many_ties_keep_the_order_given() -> None:
    """Sorting methods that are not stable often are so for few entries."""
    scores = [k % 3 for k in range(900)]
    right = [k % 7 < 3 for k in range(900)]
    objects = [[20 * k, 0, 20 * k + 10, 10] for k in range(900)]
    boxes = [box if hit else [0, 50, 10, 60] for box, hit in zip(objects, right, strict=True)]
    curve = curve_of([detect(boxes, scores)], [annotate(objects)])
    expected = [hit for score in (2, 1, 0) for hit, of in zip(right, scores, strict=True) if of == score]
    assert np.diff(curve.cumulative_tp, prepend=0).tolist() == expected


HUGE = [0, 0, 4097, 4099]  # its area is beyond the whole numbers of float32


@pytest.mark.parametrize(
    ("target", "height", "iou", "right"),
    [(UNIT, 5, 0.5, 1), (UNIT, 4.9999995, 0.5, 0), (UNIT, 7, 0.7, 1), (UNIT, 7, 0.75, 0), (HUGE, 4099 / 2, 0.5, 1)],
)
def test_overlap_of_exactly_the_threshold_matches(target, height, iou, right) -> None:
    curve = curve_of([detect([[*target[:3], height]], [0.9])], [annotate([target])], iou=iou)
    assert curve.cumulative_tp.tolist() == [right]


def test_classes_without_positives_are_left_out_of_the_mean_and_nothing_at_all_is_nan() -> None:
    image = annotate([UNIT, FAR], labels=[1, 3], difficult=[False, True])
    found = detect([UNIT, NOWHERE, FAR], [0.9, 0.8, 0.7], labels=[1, 2, 3])
    result = evaluate_voc([found], [image], ["found", "absent", "difficult", "neither"])
    for ap in (result.ap_voc07, result.ap_area):
        assert ap[0] == 1
        assert np.isnan(ap[1:]).all()
        assert len(ap) == 4
    assert np.isnan(result.curves["absent"].recall).all()
    assert result.map_voc07 == result.map_area == 1
    assert isnan(evaluate_voc([], [], ["thing"]).map_voc07)
    assert isnan(evaluate_voc([], [], []).map_area)


@pytest.mark.parametrize("tenths", range(11))
def test_eleven_points_compare_recall_as_a_fraction(tenths) -> None:
    """3 right of 10 reach recall 0.3, though 0.1 + 0.1 + 0.1 > 0.3 in floats; and so for 30 of 100, 6 of 20 ..."""
    for positives in (10, 20, 70, 1000):
        right = tenths * positives // 10
        curve = Curve(np.arange(1, right + 1), np.zeros(right, np.float32), positives)
        assert average_precision_voc07(curve) == (min(right, 1) + tenths) / 11
    perfect = Curve(np.arange(1, 8), np.zeros(7, np.float32), 7)
    assert average_precision_voc07(perfect) == average_precision_area(perfect) == 1.0


def test_as_dict() -> None:
    image = annotate([UNIT, FAR])
    result = evaluate_voc([detect([UNIT, NOWHERE], [0.75, 0.5])], [image], ["thing", "absent"])
    short = result.as_dict()
    assert short["map_voc07"] == 6 / 11
    assert short["map_area"] == 1 / 2
    assert short["per_class"]["thing"] == {"ap_voc07": 6 / 11, "ap_area": 1 / 2, "positives": 2}
    name, thing = next(result.rows(curves=True))
    assert name == "thing"
    assert thing["precision"] == [1, 1 / 2]
    assert thing["recall"] == [1 / 2, 1 / 2]
    assert thing["scores"] == [0.75, 0.5]
