"""The figure of precision-recall curves."""

from __future__ import annotations

from math import ceil, isnan
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from sppdet.drawing.figures import new_figure, save_figure
from sppdet.evaluation.voc import Curve, VOCResult, monotone_precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 5


def plot_precision_recall(result: VOCResult, path: str | PathLike[str]) -> None:
    """Write a PNG with a small plot of each class: its precision-recall curve, with the area that is its AP shaded.

    Titles give both APs in percent, voc07 and area. Raises SppdetError if the file cannot be written.
    """
    rows = max(1, ceil(len(result.curves) / MAX_COLUMNS))
    columns = max(1, ceil(len(result.curves) / rows))
    figure = new_figure(2.4 * columns + 0.6, 2.3 * rows + 0.9)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    aps = zip(result.ap_voc07, result.ap_area, strict=True)
    for axes, (name, curve), (voc07, area) in zip(grid, result.curves.items(), aps, strict=False):
        _draw_curve(axes, curve)
        title = f"{name}  {_percent(voc07)} / {_percent(area)}"
        axes.set_title(title, fontsize=9, parse_math=False)
    for axes in grid[len(result.curves) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"Precision over recall at IoU {result.iou:g}; mAP {_percent(result.map_voc07)} (voc07)"
        f" / {_percent(result.map_area)} (area)",
        fontsize=10,
        wrap=True,
    )
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    save_figure(figure, path)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if not curve.positives or not len(curve.scores):
        note = "no detections" if curve.positives else "no objects"
        axes.text(0.5, 0.5, note, ha="center", va="center", fontsize=8, color="0.4")
        return
    recall = np.append(0, curve.recall)  # from recall 0 on, to show a curve of one detection
    envelope, precision = monotone_precision(curve), curve.precision
    axes.fill_between(recall, np.append(envelope[0], envelope), step="pre", alpha=0.25, linewidth=0)
    axes.plot(recall, np.append(precision[0], precision), linewidth=1)


def _percent(fraction: float) -> str:
    return "-" if isnan(fraction) else f"{100 * fraction:.1f}"
