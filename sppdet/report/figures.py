"""The figures of the runs' accuracy: curves, confusion, sizes, kinds of error and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from sppdet.drawing.figures import draw_fractions, new_axes, shorten
from sppdet.drawing.tables import points
from sppdet.evaluation.diagnose import OUTCOMES
from sppdet.evaluation.sizes import SIZES
from sppdet.evaluation.voc import Curve
from sppdet.report.data import EvaluatedRun, ReportData
from sppdet.report.svg import BLUE, COLORS, GREEN, INK, ORANGE, PINK, VIOLET, Plot, draw_svg
from sppdet.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 8  # classes with curves; more have those of the best and the worst
BARS = 40  # classes in a figure of bars; more have the best and the worst
CONFUSED = 25  # classes in the matrix: those most often confused
POINTS = 120  # of a curve
LONGEST_NAME = 18  # characters of a class in a figure, which has room for as many W
short = partial(shorten, most=LONGEST_NAME)
ERROR_COLORS = dict(zip(OUTCOMES, (GREEN, BLUE, VIOLET, PINK, ORANGE), strict=True))


def plot_runs(data: ReportData) -> dict[str, list[Plot]]:
    """Draw the figures of each section."""
    shown = best_and_worst(data, PANELS)
    first = data.runs[0]
    return {
        "ap": [_plot_ap(data)],
        "precision": [_plot_class(data, name, k, "precision-recall", _draw_precision) for k, name in enumerate(shown)],
        "f1": [_plot_class(data, name, k, "F1", _draw_f1) for k, name in enumerate(shown)],
        "confusion": [_plot_confusion(run, k) for k, run in enumerate(data.runs)],
        "sizes": [_plot_sizes(data)] if not isnan(first.diagnosis.ap["as_is"]) else [],
        "errors": [_plot_errors(run, k) for k, run in enumerate(data.runs)],
        "calibration": [plot for k, run in enumerate(data.runs) for plot in _plot_calibration(run, k)],
    }


def best_and_worst(data: ReportData, number: int) -> list[str]:
    """Return the classes with objects by AP of the first run, best first; of more than `number` both ends."""
    rows = data.runs[0].diagnosis.classes
    names = sorted((name for name in rows if rows[name].positives), key=lambda name: -rows[name].ap["as_is"])
    return names if len(names) <= number else names[: number - number // 2] + names[-(number // 2) :]


def label_bar(axes: Axes, value: float, place: float, text: str) -> None:
    """Write a text at the end of a bar."""
    offset: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
    axes.annotate(text, (value, place), va="center", fontsize=7, **offset)


def _plot_ap(data: ReportData) -> Plot:
    names = best_and_worst(data, BARS)
    figure, axes = new_axes(4.6, 0.9 + (0.14 + 0.11 * len(data.runs)) * max(len(names), 3))
    height = 0.8 / len(data.runs)
    for k, run in enumerate(data.runs):
        values = [100 * run.diagnosis.classes[name].ap["as_is"] for name in names]
        places = np.arange(len(names)) + height * (k - (len(data.runs) - 1) / 2)
        axes.barh(places, values, height, color=COLORS[k % len(COLORS)], label=short(run.name))
        for place, value in zip(places.tolist(), values, strict=True):
            label_bar(axes, value, place, f"{value:.0f}")
    axes.set_yticks(range(len(names)), list(map(short, names)))
    axes.set(xlim=(0, 108), ylim=(max(len(names), 3) - 0.5, -0.5), xlabel="AP (%), area under the curve")
    if len(data.runs) > 1:
        figure.legend(loc="outside upper center")
    best = ", ".join(f"{name} {points(data.runs[0].diagnosis.classes[name].ap['as_is'])}" for name in names[:3])
    return Plot("AP by class", f"Bars of AP by class, best first: {best}, …", draw_svg(figure, "ap"))


def _plot_class(
    data: ReportData, name: str, number: int, kind: str, draw: Callable[[Axes, Curve, EvaluatedRun, str, str], float]
) -> Plot:
    figure, axes = new_axes(2.7, 2.3)
    values = []
    for run, color in zip(data.runs, COLORS * len(data.runs), strict=False):
        values.append(draw(axes, run.curves[name], run, name, color))
    axes.set_ylim(0, 1.03)
    axes.grid()
    axes.tick_params(labelsize=8)
    best = ", ".join(points(value) for value in values)
    text = {"F1": "best F1", "precision-recall": "AP"}[kind]
    svg = draw_svg(figure, f"{kind[:2]}{number}")
    return Plot(f"{name}: {text} {best}", f"{kind} curve of {name}: {text} {best}", svg)


def _draw_precision(axes: Axes, curve: Curve, run: EvaluatedRun, name: str, color: str) -> float:
    axes.set(xlim=(0, 1), xlabel="recall", ylabel="precision")
    if len(curve.scores):
        rows = _thinned(curve)
        recall, precision = curve.recall[rows], curve.precision[rows]
        axes.plot(np.append(0, recall), np.append(precision[0], precision), color=color, linewidth=1.4)
        above = int((curve.scores >= run.thresholds[run.classes.index(name)].item()).sum())
        if above:
            axes.plot(curve.recall[above - 1], curve.precision[above - 1], "o", color=color, markersize=5)
    return run.diagnosis.classes[name].ap["as_is"]


def _draw_f1(axes: Axes, curve: Curve, run: EvaluatedRun, name: str, color: str) -> float:
    axes.set(xlabel="probability" if run.probabilities else "score", ylabel="F1")
    if not len(curve.scores):
        return 0.0
    f1 = 2 * curve.cumulative_tp / (np.arange(1, len(curve.scores) + 1) + curve.positives)
    rows = _thinned(curve)
    rows = rows[::-1]  # F1 at a threshold is that of the last detection that reaches it
    axes.plot(curve.scores[rows], f1[rows], color=color, linewidth=1.4, drawstyle="steps-pre")
    axes.axvline(run.thresholds[run.classes.index(name)].item(), color=color, linestyle=":", linewidth=1.2)
    if run.probabilities:
        axes.set_xlim(0, 1)
    return float(f1.max())


def _thinned(curve: Curve) -> np.ndarray:
    """Return the rows of a curve to draw: about POINTS, the last before each correct detection among them."""
    correct = np.flatnonzero(curve.correct)
    ends = np.unique(np.concatenate([[0], correct, correct - 1, [len(curve.scores) - 1]]).clip(0))
    step = max(1, len(ends) // POINTS)
    return np.unique(np.append(ends[::step], ends[-1]))


def _plot_confusion(run: EvaluatedRun, number: int) -> Plot:
    from matplotlib.patches import Rectangle

    matrix = run.confusion
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    often = np.argsort(-(off.sum(axis=0) + off.sum(axis=1))[1:], kind="stable")[:CONFUSED] + 1
    rows = [*sorted(often.tolist()), 0]
    names = [*(short(run.classes[k - 1]) for k in rows[:-1]), "background"]
    side = 0.9 + 0.12 * max(map(len, names)) + 0.33 * len(rows)
    figure, axes = new_axes(side, side)
    totals = np.maximum(matrix.sum(axis=1), 1)
    for y, true in enumerate(rows):
        for x, found in enumerate(rows):
            count = int(matrix[true, found])
            if count:
                part = count / totals[true]
                color = GREEN if true == found else ORANGE
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=color, alpha=min(0.08 + 0.75 * part, 0.8)))
                axes.text(x, y, str(count), ha="center", va="center", fontsize=min(7, 36 / len(str(count))))
    axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(rows)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set(xlabel="detected as", ylabel="object")
    hits, total = int(np.trace(matrix)), int(matrix[1:].sum())
    alt = f"Confusion matrix: {hits} of {counted(total, 'object')} detected as what they are, "
    alt += f"{int(matrix[1:, 1:].sum()) - hits} as another class, {int(matrix[1:, 0].sum())} not at all; "
    alt += f"{counted(int(matrix[0].sum()), 'detection')} without an object"
    return Plot(run.name, alt, draw_svg(figure, f"confusion{number}"))


def _plot_sizes(data: ReportData) -> Plot:
    figure, axes = new_axes(3.6, 2.6)
    texts = []
    for k, run in enumerate(data.runs):
        values = [run.diagnosis.ap_n[size] for size in SIZES]
        color = COLORS[k % len(COLORS)]
        axes.plot(range(len(SIZES)), [100 * value for value in values], "o-", color=color, label=short(run.name))
        axes.axhline(100 * run.diagnosis.ap_n["all"], color=color, linestyle=":", linewidth=1.2)
        texts.append(", ".join(f"{size} {points(value)}" for size, value in zip(SIZES, values, strict=True)))
    axes.set_xticks(range(len(SIZES)), list(SIZES))
    axes.set(ylim=(0, 100), ylabel="normalized AP (%)")
    axes.grid(axis="y")
    if len(data.runs) > 1:
        axes.legend()
    return Plot(
        "Mean over classes; dotted: all sizes", f"Normalized AP by size: {'; '.join(texts)}", draw_svg(figure, "sizes")
    )


def _plot_errors(run: EvaluatedRun, number: int) -> Plot:
    from matplotlib.patches import Patch

    mean, counts = run.diagnosis.fractions(), {name: part.counts() for name, part in run.diagnosis.classes.items()}
    kept = [name for name, row in counts.items() if sum(row.values())][:BARS]
    rows: list[Mapping[str, float]] = [mean, *(counts[name] for name in kept)]
    figure, axes = new_axes(4.6, 1.1 + 0.2 * len(rows))
    draw_fractions(axes, rows, ERROR_COLORS, 0.8, 7)
    axes.set_yticks(range(len(rows)), ["mean", *map(short, kept)])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="fraction of the top detections (%)")
    patches = [Patch(color=color, label=name) for name, color in ERROR_COLORS.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=3)
    parts = ", ".join(f"{name} {points(value)}%" for name, value in mean.items())
    alt = f"Kinds of the top detections, mean over classes: {parts}"
    return Plot(run.name, alt, draw_svg(figure, f"errors{number}"))


def _plot_calibration(run: EvaluatedRun, number: int) -> Sequence[Plot]:
    if run.reliability is None:
        return []
    bins = [part for part in run.reliability.bins if part.detections]
    figure, axes = new_axes(3.2, 2.9)
    axes.plot([0, 100], [0, 100], color=INK, alpha=0.4, linestyle="--", linewidth=1)
    x, y = [100 * part.probability for part in bins], [100 * part.correct for part in bins]
    axes.plot(x, y, "o-", color=COLORS[number % len(COLORS)])
    counts = axes.secondary_xaxis("top")  # a row of their own: points may lie close to each other
    middles = [50 * (part.low + part.high) for part in bins]
    counts.set_xticks(middles, [str(part.detections) for part in bins], rotation=90, fontsize=7)
    axes.set(xlim=(0, 100), ylim=(0, 103), xlabel="probability (%)", ylabel="correct (%)")
    axes.grid()
    texts = [f"{part.probability:.0%} given, {part.correct:.0%} correct" for part in bins]
    error = points(run.reliability.error, ".2f")
    title = f"{run.name}: calibration error {error} points"
    return [Plot(title, f"{title}: {'; '.join(texts)}", draw_svg(figure, f"calibration{number}"))]
