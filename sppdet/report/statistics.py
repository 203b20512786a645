"""The figures of the data, and of the times of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from sppdet.comparison.plots import draw_growth
from sppdet.data.checks.picture import heat_map
from sppdet.drawing.figures import draw_fractions, new_axes
from sppdet.report.data import ReportData
from sppdet.report.figures import BARS, label_bar, short
from sppdet.report.svg import BLUE, COLORS, GRAY, GREEN, ORANGE, PINK, VIOLET, Plot, draw_svg
from sppdet.runtime.stopwatch import STAGES

STAGE_COLORS: dict[str, str] = dict(zip(STAGES, (GRAY, VIOLET, ORANGE, GREEN, BLUE, PINK), strict=True))


def plot_data(data: ReportData) -> list[Plot]:
    """Draw boxes per class, their sizes, aspect ratios and places."""
    boxes, sizes = data.objects
    if not len(boxes):
        return [_plot_classes(data)] if sum(data.counts.values()) else []
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    fractions = np.sqrt(sides.prod(axis=1) / sizes.prod(axis=1)).clip(0, 1)
    ratios = np.clip(sides[:, 0] / sides[:, 1], 1 / 8, 8)
    return [_plot_classes(data), _plot_sizes(fractions), _plot_ratios(ratios), _plot_places(boxes, sizes)]


def _plot_classes(data: ReportData) -> Plot:
    rows = sorted(data.counts.items(), key=lambda row: -row[1])[:BARS]
    figure, axes = new_axes(3.8, 0.7 + 0.17 * max(len(rows), 4))
    axes.barh(range(len(rows)), [count for _, count in rows], color=BLUE)
    for place, (_, count) in enumerate(rows):
        label_bar(axes, count, place, str(count))
    axes.set_yticks(range(len(rows)), [short(name) for name, _ in rows])
    axes.set(ylim=(max(len(rows), 4) - 0.5, -0.5), xlim=(0, 1.15 * max(1, rows[0][1])))
    alt = ", ".join(f"{name} {count}" for name, count in rows)
    return Plot("Boxes per class", f"Boxes per class: {alt}", draw_svg(figure, "classes"))


def _plot_sizes(fractions: np.ndarray) -> Plot:
    figure, axes = new_axes(3.2, 2.4)
    axes.hist(100 * fractions, bins=np.linspace(0, 100, 41).tolist(), color=BLUE)
    axes.set(xlabel="root of the box's part of the image (%)", ylabel="boxes", xlim=(0, 100))
    alt = f"Sizes of the boxes: half of them have a side of up to {np.median(fractions):.0%} of the image's"
    return Plot("Sizes", alt, draw_svg(figure, "boxsizes"))


def _plot_ratios(ratios: np.ndarray) -> Plot:
    figure, axes = new_axes(3.2, 2.4)
    axes.hist(ratios, bins=np.geomspace(1 / 8, 8, 41).tolist(), color=BLUE)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1"])
    axes.minorticks_off()
    axes.set(xlabel="width : height", ylabel="boxes")
    alt = f"Aspect ratios of the boxes: {(ratios < 1).mean():.0%} are higher than wide"
    return Plot("Aspect ratios", alt, draw_svg(figure, "ratios"))


def _plot_places(boxes: np.ndarray, sizes: np.ndarray) -> Plot:
    figure, axes = new_axes(3.2, 2.4)
    shown = axes.imshow(100 * heat_map(boxes, sizes), extent=(0, 100, 100, 0), vmin=0, cmap="viridis")
    figure.colorbar(shown, ax=axes, label="of the boxes (%)")
    axes.set(xlabel="% of the width", ylabel="% of the height")
    return Plot("Places", "Heat map of the places of the boxes in their images", draw_svg(figure, "places"))


def plot_times(comparison: dict[str, Any]) -> list[Plot]:
    """Draw the stages as stacked bars, and seconds against regions, if they were measured."""
    growth = comparison["growth"]
    return [_plot_stages(comparison), *([_plot_growth(growth)] if growth else [])]


def _plot_stages(comparison: dict[str, Any]) -> Plot:
    stages = comparison["stages"]
    figure, axes = new_axes(4.8, 1.0 + 0.45 * len(stages))
    rows: list[dict[str, float]] = [{stage: times[stage] for stage in STAGES} for times in stages.values()]
    draw_fractions(axes, rows, STAGE_COLORS, 0.7, 7, "{value:.2g} s")
    axes.set_yticks(range(len(stages)), [short(name) for name in stages])
    axes.set(ylim=(len(stages) - 0.5, -0.5), xlabel="fraction of the time (%)")
    figure.legend(loc="outside upper center", ncols=3)
    texts = [f"{name}: " + ", ".join(f"{s} {rows[s]:.3g} s" for s in STAGES) for name, rows in stages.items()]
    return Plot("Stages, seconds per image", "; ".join(texts), draw_svg(figure, "stages"))


def _plot_growth(growth: dict[str, dict[str, float]]) -> Plot:
    figure, axes = new_axes(3.8, 3.1)
    rows = {name: {int(count): seconds for count, seconds in each.items()} for name, each in growth.items()}
    draw_growth(axes, rows, COLORS)
    texts = []
    for name, each in rows.items():
        few, many = min(each), max(each)
        texts.append(f"{name} {each[few]:.3g} s with {few} regions, {each[many]:.3g} s with {many}")
    return Plot("Seconds against regions", "; ".join(texts), draw_svg(figure, "growth"))
