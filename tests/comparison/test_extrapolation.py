"""Predictions against curves of known parameters, and how often their intervals hold the truth."""

import numpy as np
import pytest

from sppdet.comparison.extrapolation import MOST_TIMES, Estimate, Extrapolation, resampled_maps
from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import BootstrapMAP

IMAGES = (100, 200, 400, 800)


def maps_at(images, floor: float, height: float, exponent: float) -> np.ndarray:
    return 1 - floor - height * (np.asarray(images) / IMAGES[-1]) ** -exponent


def observe(rng: np.random.Generator, truth: np.ndarray, resamples: int = 200) -> np.ndarray:
    """Measured mAPs and resamples of them: the choice of evaluation images moves all together, and each a little."""
    measured = truth + rng.normal(0, 0.02) + rng.normal(0, 0.005, len(truth))
    noise = rng.normal(0, 0.02, (resamples, 1)) + rng.normal(0, 0.005, (resamples, len(truth)))
    return np.vstack([measured, measured + noise])


def test_a_curve_goes_on():
    fit = Extrapolation(IMAGES, maps_at(IMAGES, 0.4, 0.2, 0.5)[None])
    assert fit.limit.value == pytest.approx(0.6, abs=1e-3)
    for multiple in (1, 2, 4):
        one = fit.predict(multiple)
        assert (one.multiple, one.images) == (multiple, 800 * multiple)
        assert one.map_voc07.value == pytest.approx(0.6 - 0.2 / multiple**0.5, abs=1e-4)
        assert one.gain.value == pytest.approx(0.2 - 0.2 / multiple**0.5, abs=1e-4)
        assert fit.needed(one.map_voc07.value).value == pytest.approx(one.images, rel=1e-3)
        assert one.map_voc07.interval == (one.map_voc07.value,) * 2  # without resamples
    assert fit.needed(0.61).value == np.inf
    assert fit.needed(0.6 - 0.2 * (MOST_TIMES + 1) ** -0.5).value == np.inf
    predicted, missed = fit.check
    assert predicted.value == pytest.approx(0.4, abs=1e-3)
    assert missed.value == pytest.approx(0, abs=1e-3)


def test_the_check_is_of_the_last_map_by_the_others():
    maps = maps_at(IMAGES, 0.4, 0.2, 0.5)
    fit = Extrapolation(IMAGES, maps[None] - [0, 0, 0, 0.03])
    assert [one.value for one in fit.check] == pytest.approx([0.4, 0.03], abs=1e-3)
    assert Extrapolation(IMAGES[1:], maps[None, 1:]).check is None
    with pytest.raises(InputError, match="images: too few"):
        _ = Extrapolation(IMAGES[2:], maps[None, 2:]).laws


@pytest.mark.parametrize("truth", [(0.3, 0.3, 0.3), (0.45, 0.15, 0.5), (0.5, 0.1, 0.8)])
def test_intervals_hold_the_truth_most_of_the_time(truth):
    rng, trials = np.random.default_rng(0), 40
    maps, wanted = maps_at(IMAGES, *truth), maps_at([1600], *truth)[0]
    held = np.zeros(2)
    for _ in range(trials):
        one = Extrapolation(IMAGES, observe(rng, maps)).predict(2)
        for k, (estimate, value) in enumerate(((one.map_voc07, wanted), (one.gain, wanted - maps[-1]))):
            low, high = estimate.interval
            held[k] += low <= value <= high
            assert low <= estimate.value <= high
    assert (held >= 0.82 * trials).all()  # 95% but for luck, and for curves at the bounds of the parameters


def test_the_gain_is_known_better_than_the_map():
    """What all mAPs share is not in their differences."""
    one = Extrapolation(IMAGES, observe(np.random.default_rng(0), maps_at(IMAGES, 0.4, 0.2, 0.5))).predict(2)
    widths = [high - low for low, high in (one.map_voc07.interval, one.gain.interval)]
    assert widths[1] < 0.6 * widths[0]


def test_resampled_maps_have_the_intervals_of_the_bootstrap():
    rng = np.random.default_rng(0)
    voc07 = rng.normal(0.41, 0.015, 4000)  # biased by a point
    mean = BootstrapMAP(0.40, 0.3, np.append(voc07, np.nan), np.append(voc07, np.nan), ("a",), 0)
    maps = resampled_maps([mean, mean])
    assert maps.shape == (4001, 2)
    assert maps[0].tolist() == [0.40, 0.40]
    assert Estimate.of(maps[:, 0]).interval == pytest.approx(mean.interval_voc07, abs=2e-3)
    alone = BootstrapMAP(0.4, 0.3, np.zeros(0), np.zeros(0), ("a",), 0)
    assert resampled_maps([alone]).tolist() == [[0.4]]


def test_infinity_is_an_end():
    assert Estimate.of(np.array([3.0, 1.0, np.inf, np.inf])) == Estimate(3.0, (1.0, np.inf))
    assert Estimate.of(np.array([np.inf, 1.0, 2.0])).interval == (1.0, np.inf)
