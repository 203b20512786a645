"""The picture of a score's evidence."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from sppdet.drawing.figures import new_figure, save_figure
from sppdet.explanation.evidence import Evidence, MapEvidence
from sppdet.images import to_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = "RdBu_r"  # red for, blue against
FOR, BOX, FOUND = "#b2182b", "#000000", "#1a9641"
RIVALS = 4
MOST_NUMBERS = 6  # bins per side up to which each has its number


def plot_evidence(
    evidence: Evidence, image: Tensor, classes: Sequence[str], path: str | PathLike[str], found: Tensor | None = None
) -> None:
    """Write a PNG of the evidence for a score: its cells over the image uint8 (3, H, W), each map's window and bins,
    and the scores of the other classes.

    found: box float32 (4,) that box regression made of the one that was pooled.
    """
    rows, columns = len(evidence.maps), max(len(part.bins) for part in evidence.maps)
    figure = new_figure(4.6 + 2.3 * (columns + 1), max(4.4, 2.5 * rows))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[4.6, 2.3 * (columns + 1)])[0]
    above, below = left.subplots(2, 1, height_ratios=[3, 1])
    _draw_overlay(above, evidence, image, found)
    _draw_rivals(below, evidence, classes)
    grid = right.subplots(rows, columns + 1, squeeze=False)
    limit = max(float(level.abs().max()) for part in evidence.maps for level in part.bins) or 1.0
    for row, part in zip(grid, evidence.maps, strict=True):
        _draw_window(row[0], part)
        for axes, level in zip(row[1:], part.bins, strict=False):
            _draw_bins(axes, level, limit)
        for axes in row[1 + len(part.bins) :]:
            axes.set_axis_off()
    parts = " ".join(f"{part.total:+.2f} (map of {_size(*part.cells.shape)})" for part in evidence.maps)
    name = classes[evidence.label - 1]
    figure.suptitle(f"{name}: score {evidence.score:z.2f} = {evidence.bias:.2f} (bias) {parts}", fontsize=10)
    save_figure(figure, path)


def _draw_overlay(axes: Axes, evidence: Evidence, image: Tensor, found: Tensor | None) -> None:
    height, width = image.shape[1:]
    heat = evidence.on_image(height, width).numpy()
    limit = float(np.abs(heat).max()) or 1.0
    gray = to_array(image).mean(axis=2)
    axes.imshow(gray, cmap="gray", vmin=-200, vmax=255)  # pale, for the colors above it
    opacity = np.sqrt(np.abs(heat) / limit) * 0.75
    axes.imshow(heat, cmap=COLORS, vmin=-limit, vmax=limit, alpha=opacity, interpolation="nearest")
    _draw_box(axes, evidence.box.tolist(), BOX, "pooled box", "--")
    if found is not None:
        _draw_box(axes, found.tolist(), FOUND, "detection", "-")
    axes.legend(fontsize=7, loc="lower right")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_title("red cells speak for the class, blue ones against it", fontsize=8)


def _draw_box(axes: Axes, box: Sequence[float], color: str, label: str, line: str) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = (each - 0.5 for each in box)  # the middle of pixel 0 is at 0
    corner, width, height = (x1, y1), x2 - x1, y2 - y1
    style = {"linewidth": 1.8, "linestyle": line, "edgecolor": color}
    axes.add_patch(Rectangle(corner, width, height, fill=False, label=label, **style))  # type: ignore[arg-type]


def _draw_rivals(axes: Axes, evidence: Evidence, classes: Sequence[str]) -> None:
    shown = [(evidence.label, evidence.score), *evidence.rivals(RIVALS)][::-1]
    colors = [FOR if label == evidence.label else "#999999" for label, _ in shown]
    scores = [score for _, score in shown]
    low, high = min(0.0, *scores), max(0.0, *scores)
    bars = axes.barh(range(len(shown)), scores, color=colors)  # from 0, to the left if negative
    axes.bar_label(bars, [f"{score:z.2f}" for score in scores], fontsize=7, padding=2)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [classes[label - 1] for label, _ in shown])
    room = 0.15 * (high - low) or 0.01  # for the numbers
    axes.set_xlim(low - room, high + room)
    axes.tick_params(labelsize=7)
    axes.set_title("scores of this box", fontsize=8)


def _draw_window(axes: Axes, part: MapEvidence) -> None:
    cells = part.cells.numpy()
    limit = float(np.abs(cells).max()) or 1.0
    axes.imshow(cells, cmap=COLORS, vmin=-limit, vmax=limit)
    _draw_box(axes, part.window, BOX, "window", "-")
    x1, y1, x2, y2 = part.window
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"window of {_size(y2 - y1, x2 - x1)} cells: {part.total:+.2f}", fontsize=8)


def _draw_bins(axes: Axes, level: Tensor, limit: float) -> None:
    n = len(level)
    axes.imshow(level.numpy(), cmap=COLORS, vmin=-limit, vmax=limit)
    for y, row in enumerate(level.tolist() if n <= MOST_NUMBERS else []):
        for x, value in enumerate(row):
            color = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(x, y, f"{value:+.2f}", ha="center", va="center", fontsize=8 if n < 4 else 5, color=color)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"{_size(n, n)} {'bin' if n == 1 else 'bins'}: {float(level.sum()):+.2f}", fontsize=8)


def _size(rows: float, columns: float) -> str:
    return f"{rows:.3g} × {columns:.3g}"  # noqa: RUF001
