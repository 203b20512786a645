"""Figures drawn to files, without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from sppdet.drawing.text import DARK, contrast, drawable, font_of
from sppdet.files.durable import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOFTWARE = "sppdet"
MARK = f"Software\0{SOFTWARE}"  # of our own figures, in their first bytes
LONGEST_LABEL = 60  # characters of a label of an axis; longer ones would leave no room to draw


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of this size in inches, and its axes."""
    figure = new_figure(width, height)
    return figure, figure.subplots()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def draw_fractions(
    axes: Axes,
    rows: Sequence[Mapping[str, float]],
    colors: Mapping[str, str],
    height: float,
    fontsize: float,
    text: str = "{percent:.0f}",
) -> None:
    """Draw a bar for each row, from 0 to 100%: its parts by name (NaN is 0), with a text on those above 7%.

    text: format of the part's `value` and `percent`.
    """
    for place, row in enumerate(rows):
        start, total = 0.0, sum(value for value in row.values() if value > 0)
        for name, value in row.items():
            percent = 100 * value / total if value > 0 else 0.0
            axes.barh(place, percent, height, left=start, color=colors[name], label=None if place else name)
            if percent > 7:
                color = _contrast(colors[name])
                style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": fontsize, "color": color}
                axes.text(start + percent / 2, place, text.format(value=value, percent=percent), **style)
            start += percent
    axes.set_xlim(0, 100)


def _contrast(color: str) -> str:
    """Return black or white, whichever is legible on a color."""
    from matplotlib.colors import to_rgb

    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return "black" if contrast((red, green, blue)) == DARK else "white"


def shorten(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a PNG that says it is sppdet's. Raises SppdetError if the file cannot be written."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    families = list(dict.fromkeys(font_of(each).family for each in ("", *(text.get_text() for text in texts))))
    for text in texts:
        text.set_parse_math(False)  # a class may have $ in its name
        text.set_text(drawable(text.get_text()))
        text.set_fontfamily(families)  # the usual one first
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_formatter(), FuncFormatter):  # that of labels that are given
            axis.set_ticklabels([drawable(label.get_text())[:LONGEST_LABEL] for label in axis.get_ticklabels()])
    own = {"Software": SOFTWARE}
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", metadata=own))
