"""Matplotlib's figures as SVG inside of a page: without styles, in the page's color of text, with text as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from defusedxml.ElementTree import fromstring

from sppdet.wording import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"  # stands for the color of the page's text
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
BLUE, ORANGE, GREEN, PINK, GRAY, VIOLET = "#3a8dde", "#e07b1f", "#1f9e77", "#d9579b", "#8f959c", "#8a74d6"
COLORS = (BLUE, ORANGE, GREEN, PINK, VIOLET, GRAY)  # legible on white and on black, for color-blind people too


class Plot(NamedTuple):
    """A figure of the page. title: above it. alt: what it says, for those who do not see it. svg: its element."""

    title: str
    alt: str
    svg: str


@contextmanager
def theme() -> Iterator[None]:
    """Set the style of the figures that are made and drawn in the block."""
    from matplotlib import rc_context

    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    style: Any = dict.fromkeys(inked, INK)
    style |= {"axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False, "grid.alpha": 0.2}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False, "font.size": 9}
    style |= {"axes.formatter.use_mathtext": False, "axes.unicode_minus": True, "legend.fontsize": 8}
    with rc_context(style | {"svg.fonttype": "none", "svg.hashsalt": "sppdet"}):
        yield


def draw_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element whose ids start with `name`; equal figures give equal text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    file = BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return clean_svg(file.getvalue().decode(), name)


def clean_svg(text: str, name: str) -> str:
    """Turn the styles of an SVG document into attributes, and prefix its ids with `name`."""
    root = fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key, value in list(element.attrib.items()):
            if key == "style":
                del element.attrib[key]
                element.attrib |= _attributes(value)
            elif key == f"{{{XLINK}}}href":
                del element.attrib[key]
                element.set("href", value.replace("#", f"#{name}-") if value.startswith("#") else value)
            elif key == "id":
                del element.attrib[key]
                if value in used:
                    element.set("id", f"{name}-{value}")
            elif value.startswith("url(#"):
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    width = float(root.get("width", "0").removesuffix("pt"))
    for key in ("height", "version"):
        root.attrib.pop(key, None)
    root.set("width", f"{width * 4 / 3:.0f}")
    root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode").replace(INK, "currentColor")


def _attributes(style: str) -> dict[str, str]:
    """Return the declarations of a style as presentation attributes; the page chooses the family of fonts."""
    attributes = {}
    for declaration in filter(None, map(str.strip, style.split(";"))):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":
            size = re.search(r"([\d.]+)px", value)
            key, value = "font-size", size[1] if size else "9"
        if key != "font-family":
            attributes[key] = value
    return attributes
