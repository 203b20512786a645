"""Text drawn on pictures, in DejaVu Sans, which comes with matplotlib: Latin, Cyrillic, Greek, Arabic and more.

Where it lacks a character, as for Chinese, the character's number stands in its place: \\u6f22.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sppdet.wording import printable

LEGIBLE = 16  # pixels of the font whose capitals are 11 pixels high
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
Color = tuple[int, int, int]


@cache
def _file() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


@cache
def _characters() -> frozenset[int]:
    """Return the numbers of the characters that the font has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_file())).get_charmap())


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file(), size)


def drawable(text: str) -> str:
    """Return the text with escapes for the characters that cannot be drawn: those of `printable`, and unknown ones."""
    if text.isascii():
        return printable(text)
    known = _characters()
    each = (c if ord(c) in known or c in "\n\t" else c.encode("unicode_escape").decode() for c in printable(text))
    return "".join(each)


def measure(text: str, size: int) -> tuple[int, int]:
    """Return the width and height of a line of text with its margins, in pixels, drawn in a font of this size."""
    return round(_font(size).getlength(drawable(text))) + 2 * _margin(size), round(1.25 * size)


def fit(text: str, tail: str, size: int, width: int) -> str:
    """Return text and tail, shortened in between by "…" until they are as wide at most, if that is possible."""
    whole, kept = f"{text}{tail}", len(text)
    while kept > 1 and measure(whole, size)[0] > width:
        kept -= max(1, kept // 16)
        whole = f"{text[:kept]}…{tail}"
    return whole


def write(canvas: np.ndarray, left: int, top: int, text: str, size: int, background: Color) -> None:
    """Draw a line of text on a plate of this color on a canvas uint8 (H, W, 3), as large as `measure` says."""
    width, height = measure(text, size)
    bottom, right = min(top + height, canvas.shape[0]), min(left + width, canvas.shape[1])
    plate = Image.new("RGB", (width, height), background)
    place = _margin(size), round(0.96 * size)  # of the base line
    ImageDraw.Draw(plate).text(place, drawable(text), contrast(background), _font(size), "ls")
    if bottom > top >= 0 and right > left >= 0:
        canvas[top:bottom, left:right] = np.asarray(plate)[: bottom - top, : right - left]


def contrast(background: Color) -> Color:
    """Return black or white, whichever is told from the background more easily."""
    red, green, blue = background
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT


def _margin(size: int) -> int:
    return max(1, size // 6)
