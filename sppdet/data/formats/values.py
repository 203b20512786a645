"""Numbers, flags and outlines as annotation files write them."""

import math
from collections.abc import Sequence
from pathlib import Path

from sppdet.data.records import Box
from sppdet.errors import DataError
from sppdet.structures.valid_boxes import Size

MOST_PIXELS = 10_000_000  # of a coordinate, up to which float32 knows whole pixels
TRUE = frozenset({"1", "true", "yes", "y", "t"})
FALSE = frozenset({"", "0", "false", "no", "n", "f", "none", "null", "unspecified", "unknown"})


def read_flag(value: object) -> bool | None:
    """Return a flag written as a number, text or null; None if it is none that is known."""
    if isinstance(value, (bool, int, float)):
        return value != 0
    text = "" if value is None else str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    try:
        return read_float(text) != 0
    except ValueError:
        return None


def read_float(text: str) -> float:
    """Return a number, which may be nan or inf. Raises ValueError if it is none, or finite and in no image."""
    number = float(text)
    if "_" in text or not text.isascii() or MOST_PIXELS < abs(number) < math.inf:  # Python reads 1_0 as 10
        raise ValueError(text)
    return number


def read_decimal(text: str) -> float:
    """Return the number of `read_float`, whose decimals may follow a comma."""
    return read_float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)


def read_number(text: str | None, file: Path, field: str) -> float:
    """Return the number of `read_decimal`. Raises DataError that names file and field if it is none, or missing."""
    try:
        return read_decimal(text or "")
    except ValueError:
        reason = "not a number" if text else "missing"
        expected = f"a number, up to {MOST_PIXELS}"
        raise DataError(reason, file=file, field=field, expected=expected, got=text and text[:60]) from None


def whole_size(width: float, height: float) -> Size | None:
    """Return (width, height) in whole pixels, None unless both are of an image."""
    return (int(width), int(height)) if 1 <= width < 2**31 and 1 <= height < 2**31 else None


def surround(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """Return the box around the points of an outline."""
    return min(xs), min(ys), max(xs), max(ys)


def surround_rotated(cx: float, cy: float, width: float, height: float, angle: float) -> Box:
    """Return the box around a rectangle turned by `angle` radians about its center."""
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    dx, dy = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return cx - dx, cy - dy, cx + dx, cy + dy
