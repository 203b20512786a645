"""The coverage of a map by a form of pooling, level by level, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sppdet.drawing.figures import new_figure, save_figure
from sppdet.drawing.tables import align
from sppdet.pooling.forms import PoolingForm
from sppdet.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colors of cells by the number of bins that read them: least number, color, legend.
SHADES = (
    (0, "#d55e00", "left out"),
    (1, "#ececec", "in one bin"),
    (2, "#a9cfe8", "in 2"),
    (3, "#5b9bcb", "in 3 or 4"),
    (5, "#1f4e86", "in more"),
)
LONGEST_NUMBERED = 20  # cells per side up to which the numbers in the cells are legible
LANE = 0.9  # cells from one row of bars to the next
PADDING: Mapping[str, Any] = {"facecolor": "white", "edgecolor": "0.7", "hatch": "////"}
PANEL, LEAST_PANEL = 3.6, 3.0  # inches: longer side of a map, least width for its title
LINE = 40  # letters per line of a title
LEGEND = 1.1  # inches per entry of the legend


@dataclass(frozen=True, eq=False)
class LevelReport:
    """The coverage of a map by one level.

    rows, columns: cells that each bin reads along the height and the width. readers: int64 (h, w), number of bins that
    read each cell. why_not: reason why the form does not have this level; None if it does.
    """

    level: int
    rows: Sequence[Sequence[int]]
    columns: Sequence[Sequence[int]]
    readers: Tensor
    why_not: str | None

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the map with the padding that bins read."""
        (top, bottom), (left, right) = (
            (min([0, *map(min, bins)]), max([cells, *(max(each) + 1 for each in bins)]))
            for bins, cells in zip((self.rows, self.columns), self.readers.shape, strict=True)
        )
        return left, top, right, bottom

    @property
    def left_out(self) -> int:
        return int((self.readers == 0).sum())

    @property
    def shared(self) -> int:
        return int((self.readers > 1).sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON; `got` is the number of bins along the height and the width."""
        got = (len(self.rows), len(self.columns))
        numbers = {"level": self.level, "got": got, "left_out": self.left_out, "shared": self.shared}
        return {**numbers, "why_not": self.why_not, "coverage": self.readers.tolist()}


def explain_level(form: PoolingForm, size: tuple[int, int], n: int) -> LevelReport:
    """Return the coverage of a map of `size` (h, w) by level n of a form."""
    rows, columns = (form.bins(cells, n) for cells in size)
    return LevelReport(n, rows, columns, form.coverage(size, n), form.why_not(size, n))


def format_reports(forms: Mapping[str, Sequence[LevelReport]]) -> str:
    """Return a table with a row per form and level, then the reasons why levels are refused."""
    rows, refused = [["form", "bins wanted", "got", "cells left out", "shared by bins", ""]], []
    for name, report in ((name, report) for name, reports in forms.items() for report in reports):
        wanted, got = f"{report.level}x{report.level}", f"{len(report.rows)}x{len(report.columns)}"
        row = [name, wanted, got, str(report.left_out), str(report.shared)]
        rows.append([*row, "refused" if report.why_not else ""])
        refused += [f"{name}: {report.why_not}"] if report.why_not else []
    return "\n".join([align(rows), *refused])


def plot_reports(forms: Mapping[str, Sequence[LevelReport]], path: str | PathLike[str]) -> None:
    """Write a PNG with a row per form and a map per level, all of one size.

    Cells are colored by the number of bins that read them; bars above and to the left of a map are the bins along its
    axes, and padding is hatched. Raises SppdetError if the file cannot be written.
    """
    from matplotlib.patches import Patch

    levels = [(name, report) for name, reports in forms.items() for report in reports]
    columns = len(levels) // len(forms)
    figure = new_figure(6, 6)  # resized below
    panels = figure.subplots(len(forms), columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, level in zip(panels, levels, strict=True):
        _draw_level(axes, *level)
    panels[0].margins(0.02)
    panels[0].invert_yaxis()
    (left, right), (bottom, top) = panels[0].get_xlim(), panels[0].get_ylim()
    cell = PANEL / max(right - left, bottom - top)  # inches
    across = max(LEAST_PANEL, cell * (right - left))
    figure.set_size_inches(across * columns, (cell * (bottom - top) + 0.6) * len(forms) + 0.8)
    height, width = levels[0][1].readers.shape
    figure.suptitle(f"In how many bins is each of {height}x{width} cells?", fontsize=11)
    shown = set(np.concatenate([_shades(report) for _, report in levels], axis=None))
    handles = [Patch(color=color, label=label) for k, (_, color, label) in enumerate(SHADES) if k in shown]
    if any(report.extent != (0, 0, width, height) for _, report in levels):
        handles.append(Patch(**PADDING, label="padding"))
    abreast = min(len(handles), int(across * columns / LEGEND))
    figure.legend(handles=handles, loc="outside lower center", ncols=abreast, fontsize=9, frameon=False)
    save_figure(figure, path)


def _shades(report: LevelReport) -> np.ndarray:
    """Return the index into SHADES of each cell."""
    return np.searchsorted([least for least, _, _ in SHADES], report.readers.numpy(), side="right") - 1


def _draw_level(axes: Axes, name: str, report: LevelReport) -> None:
    """Draw a map with its bins."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    left, top, right, bottom = report.extent
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, **PADDING, linewidth=0, zorder=0))
    colors = ListedColormap([color for _, color, _ in SHADES])
    axes.pcolormesh(_shades(report), cmap=colors, vmin=0, vmax=len(SHADES) - 1, edgecolors="white", linewidth=0.5)
    if max(report.readers.shape) <= LONGEST_NUMBERED:
        for (y, x), count in np.ndenumerate(report.readers.numpy()):
            color = {1: "0.6", 2: "black"}.get(count, "white")
            axes.text(x + 0.5, y + 0.5, f"{count}", ha="center", va="center", fontsize=6, color=color)
    _draw_bars(axes, report.columns, top, vertical=False)
    _draw_bars(axes, report.rows, left, vertical=True)
    axes.set_aspect("equal")
    axes.set_axis_off()
    got = f"{name}: {len(report.rows)}x{len(report.columns)} bins"
    title = f"{got}, {counted(report.left_out, 'cell')} left out" if report.left_out else f"{got}, every cell read"
    if report.why_not:
        title = fill(f"{name}, refused: {report.why_not}", LINE)
    axes.set_title(title, fontsize=9, color=SHADES[0][1] if report.why_not or report.left_out else "black")


def _draw_bars(axes: Axes, bins: Sequence[Sequence[int]], edge: int, vertical: bool) -> None:
    """Draw a bar per bin before the edge, in lanes so that none overlap."""
    from matplotlib.patches import Rectangle

    ends: list[int] = []  # end of the last bar in each lane
    for cells in bins:
        lane = next((k for k, end in enumerate(ends) if end <= min(cells)), len(ends))
        ends[lane : lane + 1] = [max(cells) + 1]
        across = edge - LANE * (lane + 1)
        firsts = [cell for cell in cells if cell - 1 not in cells]
        lasts = [cell for cell in cells if cell + 1 not in cells]
        for first, last in zip(firsts, lasts, strict=True):
            along, length = first + 0.1, last - first + 0.8
            corner, width, height = ((across, along), 0.5, length) if vertical else ((along, across), length, 0.5)
            axes.add_patch(Rectangle(corner, width, height, color="0.3", linewidth=0))
