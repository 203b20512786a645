"""The figures of an evaluation: precision-recall curves and the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isnan
from os import PathLike
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sppdet.drawing.figures import draw_fractions, new_figure, save_figure, shorten
from sppdet.drawing.tables import points
from sppdet.evaluation.diagnose import GAINS, MULTIPLES, OUTCOMES, Diagnosis
from sppdet.evaluation.sizes import SIZES
from sppdet.evaluation.voc import Curve, VOCResult, best_from_here

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 5
MOST_PANELS = 20  # of more classes, as many of the best and of the worst as fit in
LONGEST_NAME, LONGEST_LINE = 22, 62  # characters of a class over its panel, and of a line of a title
# Told apart by the color-blind as well (Okabe and Ito).
COLORS = dict(zip(OUTCOMES, ("#dddddd", "#56b4e9", "#f0e442", "#d55e00", "#0072b2"), strict=True))


def plot_precision_recall(result: VOCResult, path: str | PathLike[str]) -> None:
    """Write a PNG with a small plot of each class: its precision-recall curve, with the area that is its AP shaded.

    Of more than MOST_PANELS classes those with the highest and with the lowest AP are shown, in this order.
    Titles give both APs in percent, voc07 and area. Raises SppdetError if the file cannot be written.
    """
    names = list(result.curves)
    shown = range(len(names)) if len(names) <= MOST_PANELS else _best_and_worst(result.ap_area)
    rows = max(1, ceil(len(shown) / MAX_COLUMNS))
    columns = max(1, ceil(len(shown) / rows))
    figure = new_figure(2.4 * columns + 0.6, 2.3 * rows + 0.9)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, k in zip(grid, shown, strict=False):
        _draw_curve(axes, result.curves[names[k]])
        aps = f"{points(result.ap_voc07[k])} / {points(result.ap_area[k])}"
        axes.set_title(f"{shorten(names[k], LONGEST_NAME)}  {aps}", fontsize=9, parse_math=False)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    maps = f"mAP {points(result.map_voc07)} (voc07) / {points(result.map_area)} (area)"
    if len(shown) < len(names):
        half = len(shown) // 2
        maps += f"\nThe {half} classes with the highest AP and the {half} with the lowest, of {len(names)}"
    figure.suptitle(f"Precision over recall at IoU {result.iou:g}; {maps}", fontsize=10, wrap=True)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    save_figure(figure, path)


def _best_and_worst(aps: NDArray[np.float64]) -> list[int]:
    """Return the places of the classes with the highest and with the lowest AP, those without objects left out."""
    order = np.argsort(-aps, kind="stable")  # NaN last
    order = order[~np.isnan(aps[order])]
    half = MOST_PANELS // 2
    return [*order[:half].tolist(), *order[half:][-half:].tolist()]


def _draw_curve(axes: Axes, curve: Curve) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if not curve.positives or not len(curve.scores):
        _note(axes, "no detections" if curve.positives else "no objects")
        return
    recall = np.append(0, curve.recall)  # from recall 0 on, to show a curve of one detection
    envelope, precision = best_from_here(curve.precision), curve.precision
    axes.fill_between(recall, np.append(envelope[0], envelope), step="pre", alpha=0.25, linewidth=0)
    axes.plot(recall, np.append(precision[0], precision), linewidth=1)


def plot_diagnosis(diagnosis: Diagnosis, path: str | PathLike[str]) -> None:
    """Write a PNG: the outcomes of each class's top detections; means of their trend, gains in AP and AP_N."""
    from matplotlib.patches import Patch

    figure = new_figure(10.5, max(8.0, 0.24 * len(diagnosis.classes) + 2))
    axes = figure.subplot_mosaic([["top", "trend"], ["top", "gains"], ["top", "sizes"]])
    _draw_top(axes["top"], diagnosis)
    ap, correct = diagnosis.ap["as_is"], diagnosis.fractions()["correct"]
    gains = f"Gain over mAP {points(ap)} if errors were removed (pale: corrected)"
    for name, draw, value, title in (
        ("trend", _draw_trend, correct, "The same for other numbers of detections (mean)"),
        ("gains", _draw_gains, ap, gains),
        ("sizes", _draw_sizes, ap, "Normalized AP by object size: mean, all sizes dashed; classes gray"),
    ):
        axes[name].set_title(fill(title, LONGEST_LINE), fontsize=9)
        if isnan(value):
            axes[name].set_axis_off()
            _note(axes[name], "no objects or no detections")
        else:
            draw(axes[name], diagnosis)
    patches = [Patch(color=color, label=outcome) for outcome, color in COLORS.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), fontsize=9, frameon=False)
    save_figure(figure, path)


def _draw_top(axes: Axes, diagnosis: Diagnosis) -> None:
    rows: dict[str, Mapping[str, float]] = {"mean": diagnosis.fractions()} if len(diagnosis.classes) != 1 else {}
    rows |= {name: part.counts() for name, part in diagnosis.classes.items()}
    draw_fractions(axes, list(rows.values()), COLORS, 0.8, 7)
    for place, row in enumerate(rows.values()):
        if not sum(row.values()) > 0:  # NaN, the mean of none, included
            axes.text(1, place, "no objects or no detections", va="center", fontsize=8, color="0.4")
    axes.set_xlabel("fraction (%)")
    axes.set_title("Top detections of a class, one per object", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _draw_trend(axes: Axes, diagnosis: Diagnosis) -> None:
    fractions = [diagnosis.fractions(multiple) for multiple in MULTIPLES]
    places = range(len(MULTIPLES))
    bands = [[100 * row[outcome] for row in fractions] for outcome in OUTCOMES]
    axes.stackplot(places, bands, colors=list(COLORS.values()))
    axes.set_xticks(places, [f"{m:g}" if m >= 1 else f"1/{1 / m:g}" for m in MULTIPLES], fontsize=8)
    axes.set(xlim=(0, len(MULTIPLES) - 1), ylim=(0, 100), xlabel="detections per object", ylabel="fraction (%)")


def _draw_gains(axes: Axes, diagnosis: Diagnosis) -> None:
    """Draw two bars for localisation in one place: removed, and, pale, corrected, which never gains less."""
    ap = diagnosis.ap
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
    for part in diagnosis.classes.values():
        axes.plot(range(len(SIZES)), [100 * part.sizes[size].ap_n for size in SIZES], color="0.8", linewidth=0.8)
    axes.axhline(100 * means["all"], color="0.2", linestyle="--", linewidth=1)
    axes.plot(range(len(SIZES)), [100 * means[size] for size in SIZES], "o-", color="0.2")
    axes.set_xticks(range(len(SIZES)), list(SIZES))
    axes.set(ylim=(0, 100), ylabel="AP_N (%)")
    axes.grid(axis="y", alpha=0.3)


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color="0.4")
