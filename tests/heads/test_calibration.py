"""Calibration against Platt's likelihood minimized by scipy, steps worked out by hand, and true probabilities."""

import numpy as np
import pytest
import torch
from factories import annotate, detect, examples
from hypothesis import given, strategies as st
from scipy.optimize import minimize

from sppdet.errors import InputError
from sppdet.evaluation.voc import evaluate_voc
from sppdet.heads.calibration import Calibration, fit_calibration
from sppdet.structures import Detections

METHODS = ("platt", "isotonic")
BOX = torch.tensor([[0.0, 0, 10, 10]])


def draw(probability, count=20_000, seed=0):
    """Scores float32 in -2..2, and whether each is right with the probability of its score."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-2, 2, count).astype(np.float32)
    return scores, rng.uniform(size=count) < probability(scores)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def of_class(calibration: Calibration, scores, label: int = 1) -> np.ndarray:
    given = torch.as_tensor(scores, dtype=torch.float32)
    return calibration.probabilities(given, torch.full((len(given),), label)).numpy()


def platt_by_scipy(scores, right) -> tuple[float, float]:
    """Slope and intercept that minimize the likelihood of Platt's section 2.2."""
    positives, negatives = right.sum(), (~right).sum()
    target = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(x):
        log_odds = x[0] * scores.astype(np.float64) + x[1]
        return (np.logaddexp(0, log_odds) - target * log_odds).sum()

    slope, intercept = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    return slope, intercept


@pytest.mark.parametrize(
    ("scores", "right"),
    [
        (*draw(lambda s: sigmoid(3 * s - 1), 300),),
        (np.array([-1, -0.5, 0, 0.5], np.float32), np.array([False, True, False, True])),
        (np.array([-1, -0.9, -0.8, 2, 3], np.float32), np.array([False, False, False, True, True])),  # separable
        (np.array([-1, -1, -1, -0.5, 7], np.float32), np.array([False, False, False, False, True])),
    ],
)
def test_platt_minimizes_platts_likelihood(scores, right):
    slope, intercept = platt_by_scipy(scores, right)
    probe = np.linspace(-3, 3, 31)
    found = of_class(fit_calibration([(scores, right)]), probe)
    np.testing.assert_allclose(found, sigmoid(slope * probe + intercept), atol=1e-5)
    assert found.dtype == np.float32


def plateau(score):
    return np.where(score < -1, 0.05, np.where(score < 1, 0.4, 0.6))


@pytest.mark.parametrize(
    ("probability", "method", "least", "most"),
    [
        (lambda s: sigmoid(3 * s - 1), "platt", 0, 0.01),
        (lambda s: sigmoid(3 * s - 1), "isotonic", 0, 0.02),
        (plateau, "isotonic", 0, 0.02),  # a shape that is no sigmoid
        (plateau, "platt", 0.05, 1),
    ],
)
def test_a_sigmoid_is_found_by_both_another_shape_by_isotonic_only(probability, method, least, most):
    scores, right = draw(probability)
    found = of_class(fit_calibration([(scores, right)], method), scores)
    assert least < np.abs(found - probability(scores)).mean() < most


def test_isotonic_steps_by_hand():
    """Shares 0, 0, 1/2, 1/2, 1, 1 of scores 0 to 5: three knots, whose ends are 1/5 and 4/5 for three of each kind."""
    scores, right = np.arange(6, dtype=np.float32), np.array([0, 0, 1, 0, 1, 1], dtype=bool)
    calibration = fit_calibration([(scores, right)], "isotonic")
    np.testing.assert_allclose(calibration.knots[0], [[0.5, -np.log(4)], [2.5, 0], [4.5, np.log(4)]], atol=1e-12)
    slope, _ = platt_by_scipy(scores, right)
    assert calibration.slope.item() == pytest.approx(slope, abs=1e-5)
    probe = [0.5, 1.5, 2.5, 4.5, 5.5, -0.5]
    log_odds = np.array([-np.log(4), -np.log(4) / 2, 0, np.log(4), np.log(4) + slope, -np.log(4) - slope])
    np.testing.assert_allclose(of_class(calibration, probe), sigmoid(log_odds), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_each_class_has_its_own_map(method):
    columns = [draw(lambda s: sigmoid(2 * s), 200, seed=1), draw(lambda s: sigmoid(s - 1), 4000, seed=2)]
    both = fit_calibration(columns, method)
    assert (both.knots.shape[0], both.slope.shape) == (2, (2,))
    scores, labels = torch.linspace(-3, 3, 50), torch.tensor([1, 2]).repeat(25)
    found = both.probabilities(scores, labels)
    for label, column in enumerate(columns, start=1):
        alone = fit_calibration([column], method)
        chosen = labels == label
        np.testing.assert_array_equal(found[chosen], of_class(alone, scores[chosen]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", ["no detections", "all wrong", "all right", "one score", "falling"])
def test_a_class_that_cannot_be_fitted_gets_the_map_of_all(method, fault):
    good = draw(lambda s: sigmoid(3 * s), 500)
    scores = np.linspace(-1, 1, 10, dtype=np.float32)
    bad = {
        "no detections": (scores[:0], np.zeros(0, dtype=bool)),
        "all wrong": (scores, np.zeros(10, dtype=bool)),
        "all right": (scores, np.ones(10, dtype=bool)),
        "one score": (np.full(10, 0.1, np.float32), scores > 0),
        "falling": (scores, scores < 0),
    }[fault]
    together = fit_calibration([tuple(np.concatenate(parts) for parts in zip(good, bad, strict=True))], method)
    found = fit_calibration([bad, good], method)
    probe = np.linspace(-3, 3, 31)
    np.testing.assert_array_equal(of_class(found, probe, 1), of_class(together, probe))
    np.testing.assert_array_equal(of_class(found, probe, 2), of_class(fit_calibration([good], method), probe))
    alone = fit_calibration([bad], method)
    np.testing.assert_allclose(of_class(alone, probe), sigmoid(probe), atol=1e-6)


# The order within a class, and with it the AP, stays.

hundredths = st.integers(-200, 200).map(lambda n: n / 100)
images = st.lists(st.lists(st.tuples(hundredths, st.booleans()), max_size=6), min_size=1, max_size=6)


@examples(50)
@given(images, st.sampled_from(METHODS))
def test_the_average_precision_stays(images, method):
    """Right detections lie on objects of their own, wrong ones nowhere. Fitted on them, and applied to them."""
    annotations, detections = [], []
    for number, rows in enumerate(images):
        boxes = BOX + 20 * torch.arange(len(rows))[:, None]
        right = torch.tensor([hit for _, hit in rows], dtype=torch.bool)
        annotations.append(annotate(boxes[right], name=f"{number}"))
        scores = torch.tensor([score for score, _ in rows], dtype=torch.float32)
        found = detect(boxes + 1000 * ~right[:, None], scores)
        detections.append(found[scores.argsort(descending=True, stable=True)])
    raw = evaluate_voc(detections, annotations, ["thing"])
    (curve,) = raw.curves.values()
    assert curve.correct.sum() == sum(hit for rows in images for _, hit in rows)
    calibration = fit_calibration([(curve.scores, curve.correct)], method)
    given = [calibration.calibrate(found) for found in detections]
    probable = evaluate_voc(given, annotations, ["thing"])
    assert probable.curves["thing"].cumulative_tp.tolist() == curve.cumulative_tp.tolist()
    distinct = np.unique(curve.scores)
    assert (np.diff(of_class(calibration, distinct)) > 0).all()


def test_calibrated_detections_are_sorted_over_the_classes():
    calibration = Calibration(torch.zeros(2, 1, 2).double(), torch.tensor([0.5, 4.0]).double())
    boxes = BOX + torch.arange(4)[:, None]
    found = detect(boxes, [2.0, 1.0, -1.0, -2.0], [1, 2, 2, 1])
    probable = calibration.calibrate(found)
    assert probable.labels.tolist() == [2, 1, 1, 2]
    assert torch.equal(probable.boxes, boxes[[1, 0, 3, 2]])
    np.testing.assert_allclose(probable.scores, sigmoid(np.array([4, 1, -1, -4])), atol=1e-6)
    assert len(calibration.calibrate(Detections.empty())) == 0


def test_probabilities_that_are_equal_in_float32_keep_the_order_of_their_scores():
    calibration = Calibration(torch.zeros(1, 1, 2).double(), torch.tensor([100.0]).double())
    found = detect(BOX + torch.arange(3)[:, None], [9.0, 8.0, 7.0])
    probable = calibration.calibrate(found)
    assert probable.scores.tolist() == [1, 1, 1]
    assert torch.equal(probable.boxes, found.boxes)


@pytest.mark.parametrize(
    ("knots", "slope", "message"),
    [
        (torch.zeros(2, 1, 2), torch.ones(2).double(), "calibration.knots: wrong type"),
        (torch.zeros(2, 1, 2).double(), torch.ones(3).double(), "calibration.slope: wrong type or shape"),
        (torch.zeros(2, 0, 2).double(), torch.ones(2).double(), "calibration.knots: not increasing"),
        (torch.tensor([[[0.0, 1], [1, 0]]]).double(), torch.ones(1).double(), "calibration.knots: not increasing"),
        (torch.tensor([[[0.0, torch.nan]]]).double(), torch.ones(1).double(), "calibration.knots: not increasing"),
        (torch.zeros(1, 1, 2).double(), torch.zeros(1).double(), "calibration.slope: out of range"),
    ],
)
def test_wrong_maps_are_named(knots, slope, message):
    with pytest.raises(InputError, match=message):
        Calibration(knots, slope)


@pytest.mark.parametrize("label", [0, 3])
def test_labels_without_a_map_are_named(label):
    assert len(fit_calibration([]).slope) == 0
    calibration = Calibration(torch.zeros(2, 1, 2).double(), torch.ones(2).double())
    with pytest.raises(InputError, match=rf"labels: label of no class \(expected 1..2, got {label}\)"):
        calibration.probabilities(torch.zeros(1), torch.tensor([label]))


@pytest.mark.parametrize(
    "column",
    [
        (np.array([1.0, np.nan]), np.array([True, False])),
        (np.array([1.0, 2.0]), np.array([True])),
        (np.zeros((2, 2)), np.zeros((2, 2), dtype=bool)),
    ],
)
def test_wrong_examples_are_named(column):
    with pytest.raises(InputError, match="examples of label 2"):
        fit_calibration([(np.zeros(0), np.zeros(0, dtype=bool)), column])
