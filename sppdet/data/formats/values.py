"""Numbers, flags and outlines as annotation files write them."""

import math
from collections.abc import Sequence
from pathlib import Path

from sppdet.data.records import Box
from sppdet.errors import DataError
from sppdet.structures.valid_boxes import Size

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
        return float(text) != 0
    except ValueError:
        return None


def read_decimal(text: str) -> float:
    """Return a number whose decimals may follow a comma. Raises ValueError if it is none."""
    return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)


def read_number(text: str | None, file: Path, field: str) -> float:
    """Return the number of `read_decimal`. Raises DataError that names file and field if it is none, or missing."""
    try:
        return read_decimal(text or "")
    except ValueError:
        reason = "not a number" if text else "missing"
        raise DataError(reason, file=file, field=field, expected="a number", got=text) from None


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
