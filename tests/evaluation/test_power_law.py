"""Fitted power laws against curves of known parameters, and against a general optimizer started in many places."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import least_squares

from sppdet.errors import InputError
from sppdet.evaluation.power_law import LEAST, MOST, fit_power_laws


def curve(images, floor: float, height: float, exponent: float) -> np.ndarray:
    return floor + height * (np.asarray(images) / max(images)) ** -exponent


def best_loss(images, errors: np.ndarray) -> float:
    """The least sum of squares that scipy finds within the same bounds, from a grid of starts."""

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return curve(images, *parameters) - errors

    starts = [(floor, 0.3, exponent) for floor in (0.05, 0.5) for exponent in (0.05, 0.3, 0.9)]
    bounds = ([0, 0, LEAST], [np.inf, np.inf, MOST])
    fits = (least_squares(residuals, start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14) for start in starts)
    return min(2 * float(fit.cost) for fit in fits)


@pytest.mark.parametrize("images", [(100, 200, 400), (98, 196, 391, 782), (50, 60, 600, 700, 1000)])
@pytest.mark.parametrize("truth", [(0.4, 0.2, 0.5), (0.0, 0.6, 0.15), (0.3, 0.25, 1.0), (0.55, 0.01, 0.3)])
def test_a_curve_is_found_again_from_its_points(images, truth):
    laws = fit_power_laws(images, curve(images, *truth)[None])
    found = [float(each[0]) for each in (laws.floor, laws.height, laws.exponent)]
    assert found == pytest.approx(truth, abs=2e-3)
    for factor in (1, 2, 10):
        expected = truth[0] + truth[1] * factor ** -truth[2]
        assert laws.errors(factor * max(images)) == pytest.approx([expected], abs=1e-4)
        assert laws.needed(expected + 1e-9) == pytest.approx([factor * max(images)], rel=0.02)


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=6), st.integers(0, 9))
def test_no_curve_is_nearer(errors, start):
    images = [100 * (start + 1) * 2**k for k in range(len(errors))]
    values = np.array(errors)
    laws = fit_power_laws(images, values[None])
    assert laws.floor >= 0
    assert laws.height >= 0
    loss = ((np.array([laws.errors(n)[0] for n in images]) - values) ** 2).sum()
    assert loss <= best_loss(images, values) + 1e-7


def test_each_row_has_a_curve_of_its_own():
    images = (10, 20, 40, 80)
    truths = [(0.1, 0.5, 0.3), (0.0, 0.4, 0.7), (0.6, 0.1, 0.9)]
    together = fit_power_laws(images, np.array([curve(images, *truth) for truth in truths]))
    for row, truth in enumerate(truths):
        alone = fit_power_laws(images, curve(images, *truth)[None])
        for name in ("floor", "height", "exponent"):
            assert getattr(together, name)[row] == getattr(alone, name)[0]


def test_errors_that_do_not_fall_stay_what_they_are():
    laws = fit_power_laws((1, 2, 4), np.array([[0.5, 0.6, 0.7], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    assert laws.errors(1000) == pytest.approx([0.6, 0.5, 0.0], abs=1e-9)
    assert laws.needed(0.4)[:2].tolist() == [np.inf, np.inf]
    assert laws.needed(0.7)[0] < 1  # it is there already


@pytest.mark.parametrize("images", [(1,), (1, 2), (5, 5, 7)])
def test_two_numbers_of_images_name_no_curve(images):
    with pytest.raises(InputError, match="images: too few"):
        fit_power_laws(images, np.full((1, len(images)), 0.5))
