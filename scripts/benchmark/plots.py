"""Figures of a benchmark: seconds against the size of the input."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from benchmark.measure import Growth, Part
from sppdet.drawing.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS = ("#4c72b0", "#55a868", "#64b5cd", "#8c6d31", "#2f4b7c", "#7a7a7a")
PEERS = ("#c44e52", "#e8a33d", "#8172b3", "#999999")


def plot_part(name: str, part: Part, path: str | PathLike[str]) -> None:
    """Write a PNG: median seconds of each contestant against each size that was varied, both axes logarithmic.

    Our curves are solid, those of peers dashed. Raises SppdetError if the file cannot be written.
    """
    figure = new_figure(6 * len(part.growth), 4.4)
    panels = figure.subplots(1, len(part.growth), squeeze=False)[0]
    for axes, growth in zip(panels, part.growth, strict=True):
        _draw_growth(axes, growth)
    units = " and ".join(growth.unit for growth in part.growth)
    figure.suptitle(f"{name}: time against {units}, {part.rows[-1].label}", fontsize=10)
    save_figure(figure, path)


def _draw_growth(axes: Axes, growth: Growth) -> None:
    ours, peers = iter(OURS), iter(PEERS)
    for name, seconds in growth.seconds.items():
        is_ours = name.startswith("sppdet")
        color = next(ours if is_ours else peers)
        axes.plot(growth.sizes, seconds, "o-" if is_ours else "o--", color=color, label=name, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(growth.sizes, [f"{size:,}" for size in growth.sizes], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=growth.unit, ylabel="median seconds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
