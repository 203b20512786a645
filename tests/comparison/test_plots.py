"""The pictures are PNG files in which short times are seen beside long ones."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from factories import count_color, read_png

from sppdet.comparison import plots
from sppdet.comparison.plots import COLORS, _label, plot_growth, plot_stages
from sppdet.comparison.report import Comparison
from sppdet.drawing.figures import new_axes
from sppdet.errors import SppdetError
from sppdet.runtime.stopwatch import STAGES

pytestmark = pytest.mark.usefixtures("figures")


@pytest.fixture
def made_up(comparison) -> Callable[..., Comparison]:
    def change(conv: tuple[float, float], proposals: float = 2.0) -> Comparison:
        rows = {"rcnn": dict.fromkeys(STAGES, 1.0), "spp": dict.fromkeys(STAGES, 0.5)}
        for stages, seconds in zip(rows.values(), conv, strict=True):
            stages |= {"conv": seconds, "proposals": proposals}
        sums = {name: {"without_proposals": 0.0, "total": sum(stages.values())} for name, stages in rows.items()}
        seconds = {name: {row: [v] for row, v in (rows[name] | sums[name]).items()} for name in rows}
        return replace(comparison, timings=replace(comparison.timings, seconds=seconds))

    return change


def test_both_detectors_are_seen_in_stages_or_their_place_is_named(made_up, tmp_path) -> None:
    path = tmp_path / "new" / "stages.png"
    plot_stages(made_up((5000.0, 0.2)), path)
    for color in COLORS[:2]:
        assert count_color(read_png(path), color) > 3000
    with pytest.raises(SppdetError, match="cannot be written"):
        plot_stages(made_up((5000.0, 0.2)), path / "below a file.png")


def test_a_longer_time_is_a_longer_bar(made_up, tmp_path) -> None:
    plot_stages(made_up((400.0, 400.0)), tmp_path / "both.png")
    plot_stages(made_up((400.0, 4.0)), tmp_path / "one.png")
    both, one = (count_color(read_png(tmp_path / name), COLORS[1]) for name in ("both.png", "one.png"))
    assert both > 1.1 * one


@pytest.mark.parametrize("proposals", [0.0, float("nan")])
def test_a_stage_without_time_has_no_bar(made_up, proposals, tmp_path) -> None:
    plot_stages(made_up((40.0, 0.2), proposals), tmp_path / "stages.png")
    assert count_color(read_png(tmp_path / "stages.png"), COLORS[0]) > 3000


def test_growth_shows_a_line_each_and_one_count_is_enough(comparison, tmp_path) -> None:
    plot_growth(comparison, tmp_path / "growth.png")
    for color in COLORS[:2]:
        assert count_color(read_png(tmp_path / "growth.png"), color) > 100
    plot_growth(replace(comparison, growth={"rcnn": {9: 1.0}, "spp": {9: 0.1}}), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(0.00751, "0.0075"), (0.1, "0.10"), (1.0, "1.0"), (9.96, "10"), (21.7, "22"), (99.6, "100"), (5432.1, "5432")],
)
def test_labels_have_two_significant_digits(seconds, label) -> None:
    assert _label(seconds) == label


@pytest.mark.parametrize("growth", [(0.02, 0.07), (0.3, 40.0)])
def test_growth_has_several_ticks(comparison, growth, tmp_path, monkeypatch) -> None:
    figures = []
    monkeypatch.setattr(plots, "new_axes", lambda *size: figures.append(new_axes(*size)) or figures[-1])
    low, high = growth
    times = {"rcnn": {100: high / 2, 2000: high}, "spp": {100: low, 2000: 1.5 * low}}
    plot_growth(replace(comparison, growth=times), tmp_path / "growth.png")
    axes = figures[0][1]
    bottom, top = axes.get_ylim()
    labels = [t.get_text() for t in axes.get_yticklabels() if bottom <= t.get_position()[1] <= top]
    assert len([text for text in labels if text]) >= 3
