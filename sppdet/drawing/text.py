"""Text drawn on pictures, in DejaVu Sans, which comes with matplotlib: Latin, Cyrillic, Greek, Arabic and more.

A text with a character that it lacks, such as a Chinese one, is drawn in an installed font that has all of its
characters. Without any, the character's number stands in its place: \\u6f22.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sppdet.wording import printable

NEEDED = frozenset(map(chr, range(32, 127))) | {"…"}  # of a font, as scores and shortened names are drawn in it, too
NOT_DRAWN = ("lastresort", "color")  # fonts of placeholders, and those of pictures, which are drawn as blanks
LEGIBLE = 16  # pixels of the font whose capitals are 11 pixels high
DARK, LIGHT = (0, 0, 0), (255, 255, 255)
Color = tuple[int, int, int]


class Font(NamedTuple):
    """A font by its family, for matplotlib, and its file."""

    family: str
    file: Path


@cache
def _usual() -> Font:
    from matplotlib import get_data_path

    return Font("DejaVu Sans", Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf")


@cache
def _characters() -> frozenset[str]:
    """Return the characters of the usual font."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(_usual().file)).get_charmap())) | {"\n", "\t"}


@cache
def _find_font(characters: frozenset[str]) -> Font:
    """Return the first of the installed fonts, upright ones of usual weight first, that has these characters, or else
    the usual one."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    for one in sorted(fontManager.ttflist, key=lambda one: (one.style != "normal", one.weight != 400, one.fname)):
        if not any(word in one.name.replace(" ", "").lower() for word in NOT_DRAWN):
            with suppress(RuntimeError, OSError):  # removed, or damaged
                font = FT2Font(one.fname)
                if font.scalable and all(font.get_char_index(ord(c)) for c in characters | NEEDED):
                    return Font(one.name, Path(one.fname))
    return _usual()


def font_of(text: str) -> Font:
    """Return the font to draw a text in."""
    usual = text.isascii() or _characters().issuperset(printable(text))
    return _usual() if usual else _find_font(frozenset(printable(text)) - NEEDED - {"\n", "\t"})


@cache
def _load(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def drawable(text: str) -> str:
    """Return the text with escapes for the characters that cannot be drawn: those of `printable`, and unknown ones."""
    shown = printable(text)
    if shown.isascii() or font_of(text) != _usual():
        return shown
    known = _characters()
    return "".join(c if c in known else c.encode("unicode_escape").decode() for c in shown)


def measure(text: str, size: int) -> tuple[int, int]:
    """Return the width and height of a line of text with its margins, in pixels, drawn in a font of this size."""
    return round(_load(font_of(text).file, size).getlength(drawable(text))) + 2 * _margin(size), round(1.25 * size)


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
    ImageDraw.Draw(plate).text(place, drawable(text), contrast(background), _load(font_of(text).file, size), "ls")
    if bottom > top >= 0 and right > left >= 0:
        canvas[top:bottom, left:right] = np.asarray(plate)[: bottom - top, : right - left]


def contrast(background: Color) -> Color:
    """Return black or white, whichever is told from the background more easily."""
    red, green, blue = background
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else LIGHT


def _margin(size: int) -> int:
    return max(1, size // 6)
