"""Resampled mAPs against evaluating the resampled images one after the other, and against the binomial distribution."""

from math import isnan

import numpy as np
import pytest
import scipy.stats
from factories import annotate, detect
from scipy.stats import binom, norm
from voc_oracle import random_detections, random_images

from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import BootstrapMAP, bootstrap_map, draw_images, interval
from sppdet.evaluation.voc import evaluate_voc
from sppdet.structures import Annotations, Detections

CLASSES = ("one", "two", "three", "four")
UNIT, NOWHERE = [0.0, 0, 10, 10], [50.0, 50, 60, 60]


def one_object_each(found: list[bool]) -> tuple[list[Detections], list[Annotations]]:
    """Images with one object, found or missed, and nothing wrong: the area AP is the share of the found ones."""
    images = [annotate([UNIT], [1], name=f"{i}") for i in range(len(found))]
    return [detect([UNIT], [0.5], [1]) if hit else Detections.empty() for hit in found], images


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou", [0.5, 0.9])
def test_equals_evaluating_each_resample(seed, iou) -> None:
    rng = np.random.default_rng(seed)
    images = random_images(rng, 25)
    detections = random_detections(rng, images)
    result = bootstrap_map(detections, images, CLASSES, resamples=40, seed=seed, iou=iou)
    expected, rare = [], 0
    for counts in draw_images(len(images), 40, seed):
        drawn = np.repeat(np.arange(len(images)), counts)
        again = evaluate_voc([detections[i] for i in drawn], [images[i] for i in drawn], CLASSES, iou)
        expected.append((again.map_voc07, again.map_area))
        rare += isnan(again.ap_voc07[CLASSES.index("three")])
    np.testing.assert_allclose(result.resampled_voc07, [voc07 for voc07, _ in expected], rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.resampled_area, [voc10 for _, voc10 in expected], rtol=0, atol=1e-12)
    whole = evaluate_voc(detections, images, CLASSES, iou)
    assert result.map_voc07 == pytest.approx(whole.map_voc07, abs=1e-12)
    assert result.map_area == pytest.approx(whole.map_area, abs=1e-12)
    assert 0.05 < result.map_area < 0.9
    assert len(set(result.resampled_voc07)) > 30
    if seed == 0:
        assert 0 < rare < 40, "the rare class is in some resamples and not in others"


def test_as_many_images_are_drawn_as_there_are() -> None:
    draws = np.array(list(draw_images(30, 400, seed=1)))
    assert draws.shape == (400, 30)
    assert (draws.sum(axis=1) == 30).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(30), abs=0.25)
    assert (draws == 0).mean() == pytest.approx((29 / 30) ** 30, abs=0.01)
    assert (draws == list(draw_images(30, 400, seed=1))).all()
    assert (draws != list(draw_images(30, 400, seed=2))).any()


@pytest.mark.parametrize("found", [20, 50, 99])
def test_interval_is_the_binomial_one(found) -> None:
    detections, images = one_object_each([i < found for i in range(100)])
    result = bootstrap_map(detections, images, ["thing"], resamples=4000)
    assert result.map_area == found / 100
    expected = binom.ppf([0.025, 0.975], 100, found / 100) / 100
    assert result.interval_area == pytest.approx(expected, abs=0.0101)
    assert result.resampled_area.std() == pytest.approx(binom.std(100, found / 100) / 100, rel=0.05)
    steps = result.resampled_voc07 * 11  # precision is 1: recalls 0, 0.1 ... reached
    np.testing.assert_allclose(steps, np.floor(result.resampled_area * 10 + 1e-9) + 1, rtol=0, atol=1e-9)


def test_difference_is_paired() -> None:
    """One detector finds an object more, alone in its image: how often that is drawn is all that counts."""
    ours, images = one_object_each([i < 50 for i in range(100)])
    theirs, _ = one_object_each([i < 49 for i in range(100)])
    one, other = (bootstrap_map(found, images, ["thing"], resamples=4000) for found in (ours, theirs))
    difference = one.minus(other)
    assert difference.map_area == pytest.approx(0.01, abs=1e-15)
    drawn = binom(100, 0.01)
    bias = norm.ppf(drawn.cdf(0) + drawn.pmf(1) / 2)  # of resamples below one draw, with half of those at one
    expected = drawn.ppf(norm.cdf(2 * bias + norm.ppf([0.025, 0.975]))) / 100
    assert difference.interval_area == pytest.approx(expected, abs=1e-12)
    low, high = one.interval_area
    assert high - low > 0.15


def random_results(count: int, resamples: int = 99) -> list[BootstrapMAP]:
    """Of random detections, each time others, in the same images."""
    rng = np.random.default_rng(0)
    images = random_images(rng, 20)
    return [bootstrap_map(random_detections(rng, images), images, CLASSES, resamples) for _ in range(count)]


def test_swapping_two_detectors_negates_and_a_detector_does_not_differ_from_itself() -> None:
    one, other = random_results(2)
    there, back = one.minus(other), other.minus(one)
    assert there.map_voc07 == one.map_voc07 - other.map_voc07 == -back.map_voc07 != 0
    assert (there.resampled_area == -back.resampled_area).all()
    for ours, theirs in ((there.interval_voc07, back.interval_voc07), (there.interval_area, back.interval_area)):
        assert ours[0] < ours[1]
        assert ours == pytest.approx((-theirs[1], -theirs[0]), abs=1e-12)
    (again,) = random_results(1)
    difference = one.minus(again)
    assert one.map_voc07 > 0.1
    assert difference.map_voc07 == difference.map_area == 0
    assert difference.interval_voc07 == difference.interval_area == (0, 0)
    assert not difference.resampled_voc07.any()


def test_the_mean_of_seeds_is_that_of_each_resample() -> None:
    seeds = random_results(3)
    mean = BootstrapMAP.mean(seeds)
    assert mean.map_area == pytest.approx(sum(one.map_area for one in seeds) / 3)
    assert mean.resampled_voc07 == pytest.approx(sum(one.resampled_voc07 for one in seeds) / 3)
    assert BootstrapMAP.mean(seeds[:1]).interval_area == seeds[0].interval_area
    with pytest.raises(InputError, match="not of the same images"):
        BootstrapMAP.mean(seeds + random_results(1, resamples=98))


def test_a_class_that_was_not_drawn_is_left_out_of_the_mean() -> None:
    """Class one, in the first image, is found and class two, in the second, is not: 1, 1/2 or 0."""
    images = [annotate([UNIT], [1], name="a"), annotate([UNIT], [2], name="b")]
    detections = [detect([UNIT], [0.5], [1]), detect([NOWHERE], [0.5], [2])]
    result = bootstrap_map(detections, images, ["one", "two", "nowhere"], resamples=60)
    expected = [counts[0] / 2 for counts in draw_images(2, 60)]
    assert set(expected) == {0, 1 / 2, 1}
    assert result.resampled_voc07 == pytest.approx(expected, abs=1e-12)
    assert result.resampled_area == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_objects_is_left_out_of_the_interval() -> None:
    """The only easy object is in the first image."""
    images = [annotate([UNIT], [1], name="a"), annotate([UNIT], [1], [True], name="b")]
    result = bootstrap_map([detect([UNIT], [0.5], [1])] * 2, images, ["thing"], resamples=60)
    empty = [counts[0] == 0 for counts in draw_images(2, 60)]
    assert 0 < sum(empty) < 60
    assert np.isnan(result.resampled_voc07).tolist() == empty
    assert result.interval_voc07 == result.interval_area == pytest.approx((1, 1), abs=1e-12)


@pytest.mark.parametrize("classes", [[], ["thing"]])
@pytest.mark.parametrize("images", [[], [annotate([], [])], [annotate([UNIT], [1], [True])]])
def test_without_objects_there_is_no_number(images, classes) -> None:
    if not classes:
        images = [annotate([], [])] * len(images)
    result = bootstrap_map([Detections.empty()] * len(images), images, classes, resamples=3)
    assert isnan(result.map_voc07)
    assert np.isnan([*result.interval_voc07, *result.interval_area]).all()
    assert np.isnan(result.minus(result).interval_area).all()


def test_seeds_are_drawn_with_the_images() -> None:
    """The variance over resamples is that of the images plus that of a mean of three, from their sample variance."""
    rng, maps, resamples = np.random.default_rng(0), (0.40, 0.43, 0.38), 40_000
    noise = rng.normal(0, 0.01, resamples)  # of the images, the same for all seeds
    runs = [BootstrapMAP(m, m / 2, m + noise, m / 2 + noise, ("a",), 0) for m in maps]
    both = BootstrapMAP.over_seeds(runs)
    assert both.map_voc07 == BootstrapMAP.mean(runs).map_voc07 == pytest.approx(np.mean(maps))
    assert both.resampled_voc07.var() == pytest.approx(0.01**2 + np.var(maps, ddof=1) / 3, rel=0.02)
    assert both.resampled_area.var() == pytest.approx(0.01**2 + np.var(maps, ddof=1) / 3 / 4, rel=0.02)
    better = [BootstrapMAP(m + 0.1, m, m + 0.1 + noise, m + noise, ("a",), 0) for m in maps]
    assert BootstrapMAP.over_seeds(better).minus(both).resampled_voc07 == pytest.approx(0.1)  # the same seeds
    assert (BootstrapMAP.over_seeds(runs[:1]).resampled_voc07 == runs[0].resampled_voc07).all()


def test_as_dict_with_and_without_resamples() -> None:
    values = np.linspace(0, 1, 201)
    numbers = BootstrapMAP(0.5, 0.25, values, values / 2, ("a",), 0).as_dict()
    assert numbers["interval"].pop("map_voc07") == pytest.approx((0.025, 0.975), abs=1e-12)
    assert numbers["interval"].pop("map_area") == pytest.approx((0.0125, 0.4875), abs=1e-12)
    assert numbers == {"map_voc07": 0.5, "map_area": 0.25, "interval": {"level": 0.95, "resamples": 201}}
    detections, images = one_object_each([True, False])
    result = bootstrap_map(detections, images, ["thing"], resamples=0)
    assert result.as_dict() == {"map_voc07": pytest.approx(6 / 11), "map_area": 1 / 2}


@pytest.mark.parametrize("change", [{"resamples": 4}, {"seed": 1}, {"images": 9}, {"first": "x"}])
def test_only_the_same_draws_can_be_compared(change) -> None:
    def measure(resamples=5, seed=0, images=10, first="0") -> BootstrapMAP:
        detections, annotated = one_object_each([True] * images)
        annotated[0] = annotate([UNIT], [1], name=first)
        return bootstrap_map(detections, annotated, ["thing"], resamples, seed)

    with pytest.raises(InputError, match=r"other: not of the same images .*5 resamples of 10 images, seed 0"):
        measure().minus(measure(**change))


def test_an_interval_is_shifted_by_as_much_as_resamples_lie_on_one_side():
    values = np.random.default_rng(0).normal(size=4000)
    estimate = -0.5  # most resamples lie above: an estimate of which this is the bias
    assert interval(values, estimate) == pytest.approx((2 * estimate - 1.96, 2 * estimate + 1.96), abs=0.2)
    low, high = interval(-values, -estimate)
    assert (-high, -low) == pytest.approx(interval(values, estimate))
    assert interval(np.arange(1001.0), 500.0) == pytest.approx((25, 975))  # without bias
    assert interval(np.arange(2.0, 1002.0), 1.0) == pytest.approx((1, 2), abs=0.01)  # all on one side


def test_the_interval_of_a_skewed_number_is_near_scipys():
    sample = np.random.default_rng(3).normal(size=30)
    values = np.array([np.exp(np.random.default_rng([3, i]).choice(sample, 30).mean() * 3) for i in range(2000)])
    ours = interval(values, float(np.exp(3 * sample.mean())))
    theirs = scipy.stats.bootstrap(
        (sample,), lambda x, axis: np.exp(3 * x.mean(axis=axis)), n_resamples=2000, method="BCa", random_state=0
    ).confidence_interval
    assert ours == pytest.approx(theirs, rel=0.2)
