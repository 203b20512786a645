"""Figures drawn to files, without a display."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from sppdet.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a PNG. Raises SppdetError if the file cannot be written."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))
