"""Pictures of a comparison: where the time goes, and how it grows with the regions."""

from __future__ import annotations

from itertools import cycle
from os import PathLike
from typing import TYPE_CHECKING

from sppdet.comparison.report import Comparison
from sppdet.drawing.figures import new_figure, save_figure
from sppdet.runtime.stopwatch import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The baseline first; none a stage's.
COLOURS = ("#7f1d2e", "#1f4e79", "#1e6b3a", "#7a5195", "#b35806", "#008080", "#c51b8a", "#5c4033")
STAGE_COLOURS = ("#bbbbbb", "#e8a33d", "#c44e52", "#55a868", "#4c72b0", "#8172b3")


def plot_stages(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write a PNG: seconds of each stage of all detectors on a log axis, and each stage's share of their time.

    Raises SppdetError where the file cannot be written.
    """
    figure = new_figure(9, 3.2 + 0.7 * len(comparison.stages))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_seconds(left, comparison)
    _draw_shares(right, comparison)
    figure.suptitle(_title(comparison), fontsize=10)
    save_figure(figure, path)


def plot_growth(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write a PNG: seconds without proposals against the number of regions, both axes logarithmic; with numbers where
    there are two detectors.

    Raises SppdetError where the file cannot be written.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    figure = new_figure(5.5, 4)
    axes = figure.subplots()
    counts = list(comparison.growth[comparison.baseline])
    for name, color, side in zip(_names(comparison), cycle(COLOURS), cycle((1, -1)), strict=False):
        values = [comparison.growth[name][count] for count in counts]
        axes.plot(counts, values, marker="o", color=color, label=name)
        for count, value in list(zip(counts, values, strict=True)) if len(comparison.growth) < 3 else []:
            offset, upright = (0, 6 * side), "bottom" if side > 0 else "top"
            text = axes.annotate(_label(value), (count, value), offset, textcoords="offset points")
            text.set(fontsize=8, horizontalalignment="center", verticalalignment=upright)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(x=0.08, y=0.15)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, high / 3), high)
    axes.set(xlabel="regions", ylabel="seconds an image, without proposals")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(f"Time against regions, {comparison.machine}", fontsize=9)
    save_figure(figure, path)


def _draw_seconds(axes: Axes, comparison: Comparison) -> None:
    """Bars side by side; whiskers are the quartiles. On a linear axis SPPnet's would not be seen."""
    rows = [*STAGES, "total"]
    names = _names(comparison)
    step = 0.8 / len(names)
    for k, (name, color) in enumerate(zip(names, cycle(COLOURS), strict=False)):
        seconds = {**comparison.stages[name], "total": comparison.totals[name]["total"]}
        shown = [(i, seconds[row], comparison.spread[name][row]) for i, row in enumerate(rows) if seconds[row] > 0]
        places, values = [i + step * k for i, _, _ in shown], [value for _, value, _ in shown]
        whiskers = [
            [max(0.0, value - low) for _, value, (low, _) in shown],
            [max(0.0, high - value) for _, value, (_, high) in shown],
        ]
        axes.barh(
            places, values, 0.95 * step, color=color, label=name, xerr=whiskers, error_kw={"lw": 1, "ecolor": "0.3"}
        )
        for place, value, (_, _, (_, high)) in zip(places, values, shown, strict=True):
            text = f" {_label(value)} "
            axes.text(max(value, high), place, text, va="center", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks([i + 0.4 - step / 2 for i in range(len(rows))], rows)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 4)  # the shortest is still a bar; room for the numbers
    axes.set_xlabel("median seconds an image (log)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _draw_shares(axes: Axes, comparison: Comparison) -> None:
    names = _names(comparison)
    starts = dict.fromkeys(names, 0.0)
    for stage, color in zip(STAGES, STAGE_COLOURS, strict=True):
        for row, name in enumerate(names):
            known = {key: value for key, value in comparison.stages[name].items() if value > 0}
            share = 100 * known.get(stage, 0.0) / (sum(known.values()) or 1)
            axes.barh(row, share, 0.5, left=starts[name], color=color, label=None if row else stage)
            if share > 7:
                axes.text(starts[name] + share / 2, row, f"{share:.0f}", ha="center", va="center", fontsize=8)
            starts[name] += share
    axes.set(xlim=(0, 100), xlabel="share of the time (%)")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3, frameon=False)


def _names(comparison: Comparison) -> list[str]:
    return [comparison.baseline, *comparison.others]


def _title(comparison: Comparison) -> str:
    times = [
        f"{name} {speedup['without_proposals']:.3g} ({speedup['conv']:.3g} in the convolutions)"
        for name, speedup in comparison.speedup.items()
    ]
    title = f"{comparison.images} images, {comparison.regions} regions; times faster than {comparison.baseline}"
    return "\n".join([f"{title}, without proposals", *times])


def _label(seconds: float) -> str:
    """Two significant digits, without an exponent where they are before the point."""
    return f"{seconds:#.2g}".rstrip(".") if seconds < 99.5 else f"{seconds:.0f}"
