"""The pictures are PNG files in which short times are seen beside long ones."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sppdet.comparison import plots
from sppdet.comparison.plots import COLORS, _label, plot_growth, plot_stages
from sppdet.comparison.report import Comparison
from sppdet.drawing.figures import new_figure
from sppdet.errors import SppdetError
from sppdet.runtime.stopwatch import STAGES


def made_up(conv: tuple[float, float], proposals: float = 2.0) -> Comparison:
    times = {"rcnn": dict.fromkeys(STAGES, 1.0), "spp": dict.fromkeys(STAGES, 0.5)}
    for (_name, stages), seconds in zip(times.items(), conv, strict=True):
        stages |= {"conv": seconds, "proposals": proposals}
    sums = {
        name: {"without_proposals": sum(s.values()) - proposals, "total": sum(s.values())} for name, s in times.items()
    }
    spread = {name: {row: [v, v] for row, v in (stages | sums[name]).items()} for name, stages in times.items()}
    growth = {"rcnn": {100: 2.0, 2000: 40.0}, "spp": {100: 0.3, 2000: 1.0}}
    return Comparison(
        images=5,
        regions=2000,
        topped_up=0,
        shared={"spp": 0.183},
        device="cpu",
        machine="Some CPU",
        threads=2,
        torch="2.x",
        baseline="rcnn",
        detectors={"rcnn": {}, "spp": {}},
        stages=times,
        spread=spread,
        totals=sums,
        growth=growth,
        throughput=None,
        maps={},
    )


def count_pixels(path, color: str) -> int:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels == wanted).all(axis=2).sum())


def test_both_detectors_are_seen_in_stages(tmp_path) -> None:
    plot_stages(made_up((5000.0, 0.2)), tmp_path / "new" / "stages.png")
    for color in COLORS[:2]:
        assert count_pixels(tmp_path / "new" / "stages.png", color) > 3000


def test_a_longer_time_is_a_longer_bar(tmp_path) -> None:
    plot_stages(made_up((400.0, 400.0)), tmp_path / "both.png")
    plot_stages(made_up((400.0, 4.0)), tmp_path / "one.png")
    assert count_pixels(tmp_path / "both.png", COLORS[1]) > 1.1 * count_pixels(tmp_path / "one.png", COLORS[1])


@pytest.mark.parametrize("proposals", [0.0, float("nan")])
def test_a_stage_without_time_has_no_bar(proposals, tmp_path) -> None:
    plot_stages(made_up((40.0, 0.2), proposals), tmp_path / "stages.png")
    assert count_pixels(tmp_path / "stages.png", COLORS[0]) > 3000


def test_growth_shows_a_line_each(tmp_path) -> None:
    plot_growth(made_up((40.0, 0.2)), tmp_path / "growth.png")
    for color in COLORS[:2]:
        assert count_pixels(tmp_path / "growth.png", color) > 100


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(0.00751, "0.0075"), (0.1, "0.10"), (1.0, "1.0"), (9.96, "10"), (21.7, "22"), (99.6, "100"), (5432.1, "5432")],
)
def test_labels_have_two_significant_digits(seconds, label) -> None:
    assert _label(seconds) == label


@pytest.mark.parametrize("growth", [(0.02, 0.07), (0.3, 40.0)])
def test_growth_has_several_ticks(growth, tmp_path, monkeypatch) -> None:
    figures = []
    monkeypatch.setattr(plots, "new_figure", lambda *size: figures.append(new_figure(*size)) or figures[-1])
    low, high = growth
    times = {"rcnn": {100: high / 2, 2000: high}, "spp": {100: low, 2000: 1.5 * low}}
    plot_growth(replace(made_up((40.0, 0.2)), growth=times), tmp_path / "growth.png")
    axes = figures[0].axes[0]
    bottom, top = axes.get_ylim()
    labels = [t.get_text() for t in axes.get_yticklabels() if bottom <= t.get_position()[1] <= top]
    assert len([text for text in labels if text]) >= 3


def test_one_count_is_enough_for_growth(tmp_path) -> None:
    plot_growth(replace(made_up((40.0, 0.2)), growth={"rcnn": {9: 1.0}, "spp": {9: 0.1}}), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SppdetError, match="cannot be written"):
        plot_stages(made_up((40.0, 0.2)), tmp_path / "file" / "stages.png")
