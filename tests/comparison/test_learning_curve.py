"""The table of a learning curve, its words and its numbers."""

from collections.abc import Callable

import numpy as np
import pytest
from factories import count_color, read_png

from sppdet.comparison.learning_curve import LearningCurve, Share
from sppdet.comparison.plots import COLORS, plot_learning_curve
from sppdet.evaluation.bootstrap import BootstrapMAP


@pytest.fixture
def made_up() -> Callable[..., LearningCurve]:
    """Curves of shares, by images, with a mAP for each seed, whose resamples are about a point around it."""
    common = np.random.default_rng(0).normal(0, 0.01, 400)

    def run(images: int, value: float) -> BootstrapMAP:
        noise = common + np.random.default_rng(images).normal(0, 0.003, 400)
        return BootstrapMAP(value, value / 2, value + noise, value / 2 + noise, tuple(range(50)), 0)

    def make(shares: dict[int, tuple[float, ...]], multiples=(2.0, 4.0), goal=None, missing=()) -> LearningCurve:
        rows = [
            Share(n, tuple(run(n, one) for one in maps), missing if n == min(shares) else ())
            for n, maps in shares.items()
        ]
        return LearningCurve(rows, multiples, goal, "runs/curve")

    return make


FALLING = {n: 0.6 - 0.2 * (n / 800) ** -0.5 for n in (100, 200, 400, 800)}
MEASURED = {n: (value - 0.01, value + 0.01) for n, value in FALLING.items()}


def test_a_curve_is_told_in_words(made_up):
    head, *rows, on, law, twice, four, goal, check, written = str(made_up(MEASURED, goal=0.5)).splitlines()
    assert head.split("  ")[0] == "images"
    assert [row.split()[:2] for row in rows] == [["100", "3.4"], ["200", "20.0"], ["400", "31.7"], ["800", "40.0"]]
    assert all("1.4" in row.split() for row in rows)  # the standard deviation over the seeds
    assert rows[-1].split("1.4  ")[1].lstrip().startswith("+8.3 (")
    assert on == "on 50 held-out images"
    assert law.startswith("1 - mAP = 0.400 + 0.200 * (images / 800)^-0.50: approaches a mAP of 60.0% (")
    assert twice.startswith("with 2x the images (1600): about 45.9% (")
    assert ", +5.9 (+" in twice
    assert four.startswith("with 4x the images (3200): about 50.0% (")
    assert goal.startswith("a mAP of 50.0% needs 3200 images (")
    assert check.startswith("check: the smaller shares predict 40.0% for 800 images, +0.0 (")
    assert written == "written to runs/curve"


def test_the_numbers_are_those_of_the_words(made_up):
    values = made_up(MEASURED, goal=0.7).as_dict()
    assert [one["images"] for one in values["shares"]] == list(MEASURED)
    assert [one["map_voc07"] for one in values["shares"]] == pytest.approx(list(FALLING.values()))
    assert values["shares"][0]["gain"] is None
    assert values["shares"][3]["gain"]["map_voc07"] == pytest.approx(FALLING[800] - FALLING[400])
    assert values["shares"][3]["maps"] == MEASURED[800]
    assert values["held_out"] == 50
    fit = values["fit"]
    assert [fit[key] for key in ("floor", "height", "exponent", "limit")] == pytest.approx(
        [0.4, 0.2, 0.5, 0.6], abs=2e-3
    )
    (twice, four), low_high = values["predictions"], values["predictions"][0]["interval"]
    assert (twice["multiple"], twice["images"], four["images"]) == (2, 1600, 3200)
    assert low_high["map_voc07"][0] < twice["map_voc07"] < low_high["map_voc07"][1]
    assert low_high["gain"][0] <= twice["gain"] <= low_high["gain"][1]
    assert values["goal"]["images"] == np.inf  # which JSON has as null
    assert "needs more than 80000 images" in str(made_up(MEASURED, goal=0.7))
    assert set(values["check"]) == {"map_voc07", "minus_measured", "interval"}


def test_what_makes_a_curve_less_trustworthy_is_said(made_up):
    def said(*arguments, **options) -> str:
        return "\n".join(made_up(*arguments, **options).notes)

    single = {n: maps[:1] for n, maps in MEASURED.items()}
    assert "one seed" in said(single)
    assert "one seed" not in said(MEASURED)
    assert "100 images without objects of cat, dog:" in said(MEASURED, missing=("cat", "dog"))
    assert "factor of 8" in said(MEASURED, multiples=(9.0,))
    assert "factor" not in said(MEASURED, multiples=(8.0,))
    assert "nothing checks it" in said({n: MEASURED[n] for n in (200, 400, 800)})
    assert "misses the largest" in said(MEASURED | {800: (0.30, 0.301)})
    assert "misses" not in said(MEASURED)
    assert "limit" not in said(MEASURED)
    slow = {n: (1 - 0.6 * (n / 800) ** -0.15,) * 2 for n in MEASURED}
    assert "the limit is hardly known" in said(slow)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_shares_have_no_curve(made_up, count):
    curve = made_up(dict(list(MEASURED.items())[-count:]), goal=0.5)
    assert "note: no curve" in str(curve)
    assert "with 2x" not in str(curve)
    values = curve.as_dict()
    assert [values[key] for key in ("fit", "check", "goal", "predictions")] == [None, None, None, []]
    assert len(values["shares"]) == count


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("images", [(800,), (400, 800), (200, 400, 800), tuple(MEASURED)])
@pytest.mark.parametrize("multiples", [(), (1.0, 2.0)])
def test_the_picture_has_points_and_a_curve_if_there_is_one(made_up, images, multiples, tmp_path):
    plot_learning_curve(made_up({n: MEASURED[n] for n in images}, multiples), tmp_path / "curve.png")
    pixels = read_png(tmp_path / "curve.png")
    assert count_color(pixels, COLORS[0]) > 30 * len(images)
    assert (count_color(pixels, COLORS[1]) > 200) == (len(images) > 2)
