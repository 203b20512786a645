"""Figures of comparisons: time by stage, its growth with the regions, and mAP against the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from sppdet.comparison.learning_curve import LearningCurve
from sppdet.comparison.report import Comparison
from sppdet.drawing.figures import draw_fractions, new_axes, new_figure, save_figure, shorten
from sppdet.runtime.stopwatch import STAGES
from sppdet.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the detectors, the baseline first; the first six are told apart by the color-blind as well (Okabe and Ito).
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c6d31")
LONGEST_NAME = 24  # characters of a detector in the legend
STAGE_COLORS = ("#bbbbbb", "#e69f00", "#0072b2", "#56b4e9", "#d55e00", "#cc79a7")


def plot_stages(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write a PNG: seconds of each stage of all detectors on a log axis, and each stage's fraction of their time."""
    figure = new_figure(9, 3.2 + 0.7 * len(comparison.names))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_seconds(left, comparison)
    _draw_fractions(right, comparison)
    sizes = f"{counted(comparison.images, 'image')}, {counted(comparison.regions, 'region')}"
    title = [f"{sizes}; times faster than {comparison.baseline}, without proposals"]
    for name, speedup in comparison.speedup.items():
        title.append(f"{name} {speedup['without_proposals']:.3g} ({speedup['conv']:.3g} in the convolutions)")
    figure.suptitle("\n".join(title), fontsize=10)
    save_figure(figure, path)


def plot_growth(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write a PNG: seconds without proposals against the number of regions."""
    figure, axes = new_axes(5.5, 4)
    draw_growth(axes, {name: comparison.growth[name] for name in comparison.names}, COLORS)
    figure.suptitle(f"Time against regions, {comparison.machine['machine']}", fontsize=9)
    save_figure(figure, path)


def draw_growth(axes: Axes, growth: Mapping[str, Mapping[int, float]], colors: Sequence[str]) -> None:
    """Draw seconds by number of regions, the same of each detector, on log axes, with numbers for up to two."""
    from matplotlib.ticker import NullLocator

    counts = list(next(iter(growth.values())))
    for (name, rows), color in zip(growth.items(), cycle(colors), strict=False):
        axes.loglog(counts, list(rows.values()), marker="o", color=color, label=shorten(name, LONGEST_NAME))
    for count in counts if len(growth) < 3 else []:
        # Above the slower one and below the faster one, away from the lines, which rise to the right.
        for place, value in enumerate(sorted((rows[count] for rows in growth.values()), reverse=True)):
            side = -1 if place else 1
            style: dict[str, Any] = {"ha": "left", "va": "top"} if place else {"ha": "right", "va": "bottom"}
            offset = (-3 * side, 3 * side)
            axes.annotate(_label(value), (count, value), offset, textcoords="offset points", fontsize=8, **style)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(x=0.15, y=0.15)
    low, high = axes.get_ylim()
    middle, spread = (low * high) ** 0.5, max(high / low, 3.4) ** 0.5  # of which _log_ticks gives three or more
    low, high = middle / spread, middle * spread
    axes.set_ylim(low, high)
    axes.set_yticks(_log_ticks(low, high))
    axes.set(xlabel="regions", ylabel="seconds per image, without proposals")
    axes.grid(alpha=0.3)
    axes.legend()


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two positive ones: the fewer of a decade the more decades there are."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high))
    factors = (1, 1.5, 2, 3, 4, 5, 7) if high < 12 * low else (1, 2, 5) if high < 1000 * low else (1,)
    return [float(tick) for power in powers for tick in np.multiply(factors, power) if low <= tick <= high]


def plot_learning_curve(curve: LearningCurve, path: str | PathLike[str]) -> None:
    """Write a PNG: mAP against the number of training images on a log axis, and the fitted curve, both with intervals.

    Small dots are single seeds, hollow ones predictions.
    """
    from matplotlib.ticker import NullLocator

    figure, axes = new_axes(6.5, 4.5)
    images = [share.images for share in curve.shares]
    ticks = [*images]
    if fit := curve.extrapolation:
        predictions = [fit.predict(multiple) for multiple in curve.multiples]
        ticks += [one.images for one in predictions]
        multiples = np.geomspace(images[0], max(ticks), 60) / images[-1]
        line = [fit.predict(multiple) for multiple in multiples]
        low, high = 100 * np.array([one.map_voc07.interval for one in line]).T
        axes.fill_between(multiples * images[-1], low, high, color=COLORS[1], alpha=0.15, linewidth=0)
        style: dict[str, Any] = {"color": COLORS[1], "linewidth": 1.2}
        for part, dashes in ((multiples <= 1, "-"), (multiples >= multiples[multiples <= 1].max(), "--")):
            values = 100 * np.array([one.map_voc07.value for one in line])
            axes.plot(multiples[part] * images[-1], values[part], dashes, **style)
        for one in predictions:
            value = 100 * one.map_voc07.value
            axes.plot(one.images, value, "o", color=COLORS[1], markerfacecolor="white")
            _write_value(axes, one.images, value)
    for share in curve.shares:
        value, ends = 100 * share.mean.map_voc07, 100 * np.array(share.mean.interval_voc07)
        whiskers = [[value - ends[0]], [ends[1] - value]]
        axes.errorbar(share.images, value, whiskers, fmt="o", color=COLORS[0], capsize=3, linewidth=1.2)
        if len(share.maps) > 1:
            axes.plot([share.images] * len(share.maps), 100 * np.array(share.maps), ".", color=COLORS[0], alpha=0.5)
        _write_value(axes, share.images, value)
    axes.set_xscale("log")
    ticks = sorted(set(ticks))
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=0.1)
    axes.set(xlabel="training images", ylabel="VOC07 mAP (%), 95% intervals")
    axes.grid(alpha=0.3)
    figure.suptitle(f"mAP on {counted(len(curve.shares[0].mean.images), 'held-out image')}", fontsize=10)
    save_figure(figure, path)


def _write_value(axes: Axes, x: float, y: float) -> None:
    axes.annotate(f"{y:.1f}", (x, y), (5, -10), textcoords="offset points", fontsize=8)


def _draw_seconds(axes: Axes, comparison: Comparison) -> None:
    """Draw bars side by side, with quartiles as whiskers. On a linear axis SPPnet's bars would be too short to see."""
    rows = [*STAGES, "total"]
    names, timings = comparison.names, comparison.timings
    step = 0.8 / len(names)
    for k, (name, color) in enumerate(zip(names, cycle(COLORS), strict=False)):
        seconds, spread = timings.medians[name], timings.spread[name]
        shown = [(i + step * k, seconds[row], *spread[row]) for i, row in enumerate(rows)]
        positions, values, low, high = np.array([bar for bar in shown if bar[1] > 0]).T
        whiskers = np.maximum([values - low, high - values], 0)
        style: dict[str, Any] = {"color": color, "label": name, "error_kw": {"lw": 1, "ecolor": "0.3"}}
        axes.barh(positions, values, 0.95 * step, xerr=whiskers, **style)
        for position, value, end in zip(positions, values, np.maximum(values, high), strict=True):
            axes.text(end, position, f" {_label(value)} ", va="center", fontsize=8)
    axes.set(xscale="log", xlabel="median seconds per image (log)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks([i + 0.4 - step / 2 for i in range(len(rows))], rows)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2, high * 4)  # visible bars for the shortest times, room for the numbers
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _draw_fractions(axes: Axes, comparison: Comparison) -> None:
    names, medians = comparison.names, comparison.timings.medians
    stages: list[dict[str, float]] = [{stage: medians[name][stage] for stage in STAGES} for name in names]
    draw_fractions(axes, stages, dict(zip(STAGES, STAGE_COLORS, strict=True)), 0.5, 8)
    axes.set_xlabel("fraction of the time (%)")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3, frameon=False)


def _label(seconds: float) -> str:
    """Format with two significant digits, without an exponent for 99.5 or more."""
    return f"{seconds:#.2g}".rstrip(".") if seconds < 99.5 else f"{seconds:.0f}"
