"""The figure of a diagnosis."""

from __future__ import annotations

from math import isnan
from os import PathLike
from typing import TYPE_CHECKING

from sppdet.drawing.figures import new_figure, save_figure
from sppdet.evaluation.diagnosis import GAINS, MULTIPLES, OUTCOMES, Diagnosis
from sppdet.evaluation.sizes import SIZES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = dict(zip(OUTCOMES, ("#dddddd", "#4c72b0", "#c44e52", "#55a868", "#8172b3"), strict=True))


def plot_diagnosis(diagnosis: Diagnosis, path: str | PathLike[str]) -> None:
    """Write a PNG: the outcomes of each class's top detections; means of their trend, of the gains in AP, and of AP_N.

    Raises SppdetError if the file cannot be written.
    """
    from matplotlib.patches import Patch

    height = max(8.0, 0.24 * len(diagnosis.classes) + 2)
    figure = new_figure(10.5, height)
    axes = figure.subplot_mosaic([["top", "trend"], ["top", "gains"], ["top", "sizes"]])
    _draw_top(axes["top"], diagnosis)
    _draw_trend(axes["trend"], diagnosis)
    _draw_gains(axes["gains"], diagnosis)
    _draw_sizes(axes["sizes"], diagnosis)
    patches = [Patch(color=color, label=outcome) for outcome, color in COLORS.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), fontsize=9, frameon=False)
    save_figure(figure, path)


def _draw_top(axes: Axes, diagnosis: Diagnosis) -> None:
    rows = {"mean": diagnosis.fractions()} | {name: part.counts() for name, part in diagnosis.classes.items()}
    for place, row in enumerate(rows.values()):
        total, start = sum(row.values()), 0.0
        if not total > 0:  # NaN, the mean of none, included
            axes.text(1, place, "no objects or no detections", va="center", fontsize=8, color="0.4")
            continue
        for outcome, value in row.items():
            percentage = 100 * value / total
            axes.barh(place, percentage, 0.8, left=start, color=COLORS[outcome])
            if percentage > 7:
                axes.text(start + percentage / 2, place, f"{percentage:.0f}", ha="center", va="center", fontsize=7)
            start += percentage
    axes.set(xlim=(0, 100), xlabel="fraction (%)")
    axes.set_title("Top detections of a class, one per object", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _draw_trend(axes: Axes, diagnosis: Diagnosis) -> None:
    fractions = [diagnosis.fractions(multiple) for multiple in MULTIPLES]
    axes.set_title("The same for other numbers of detections (mean)", fontsize=9)
    if any(isnan(row["correct"]) for row in fractions):
        _note(axes)
        return
    places = range(len(MULTIPLES))
    bands = [[100 * row[outcome] for row in fractions] for outcome in OUTCOMES]
    axes.stackplot(places, bands, colors=list(COLORS.values()))
    axes.set_xticks(places, [f"{m:g}" if m >= 1 else f"1/{1 / m:g}" for m in MULTIPLES], fontsize=8)
    axes.set(xlim=(0, len(MULTIPLES) - 1), ylim=(0, 100), xlabel="detections per object", ylabel="fraction (%)")


def _draw_gains(axes: Axes, diagnosis: Diagnosis) -> None:
    """Draw two bars for localisation in one place: removed, and, pale, corrected, which never gains less."""
    ap = diagnosis.ap
    axes.set_title(f"Gain over mAP {_percent(ap['as_is'])} if errors were removed (pale: corrected)", fontsize=9)
    if isnan(ap["as_is"]):
        _note(axes)
        return
    gain = {name: 100 * (ap[key] - ap["as_is"]) for name, key in GAINS.items()}
    corrected = gain.pop("corrected")
    axes.barh(0, corrected, color=COLORS["localisation"], alpha=0.4)
    for place, (name, value) in enumerate(gain.items()):
        axes.barh(place, value, color=COLORS.get(name, "#999999"))
        end, label = (value, f"{value:.1f}") if place else (corrected, f"{value:.1f}, {corrected:.1f}")
        axes.text(end, place, f" {label}", va="center", fontsize=8)
    axes.set_yticks(range(len(gain)), list(gain), fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, max(1.0, 1.2 * max(corrected, *gain.values()))), xlabel="points of mAP")


def _draw_sizes(axes: Axes, diagnosis: Diagnosis) -> None:
    means = diagnosis.ap_n
    axes.set_title("Normalized AP by object size: mean, all sizes dashed; classes gray", fontsize=9)
    if isnan(means["all"]):
        _note(axes)
        return
    for part in diagnosis.classes.values():
        axes.plot(range(len(SIZES)), [100 * part.sizes[size].ap_n for size in SIZES], color="0.8", linewidth=0.8)
    axes.axhline(100 * means["all"], color="0.2", linestyle="--", linewidth=1)
    axes.plot(range(len(SIZES)), [100 * means[size] for size in SIZES], "o-", color="0.2")
    axes.set_xticks(range(len(SIZES)), list(SIZES))
    axes.set(ylim=(0, 100), ylabel="AP_N (%)")
    axes.grid(axis="y", alpha=0.3)


def _note(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no objects or no detections", ha="center", va="center", fontsize=8, color="0.4")


def _percent(fraction: float) -> str:
    return "-" if isnan(fraction) else f"{100 * fraction:.1f}"
