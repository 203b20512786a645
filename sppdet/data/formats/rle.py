"""Boxes of run-length encoded masks as COCO has them. pycocotools' C code trusts what it is given; this does not."""

from collections.abc import Sequence
from typing import Any

from sppdet.data.records import Box

MOST_CHARACTERS = 12  # of a number: 5 bits each


def surround_runs(encoded: dict[str, Any]) -> Box:
    """Return the box x1 y1 x2 y2 around the mask {size: [height, width], counts}, as pycocotools' toBbox does.

    counts: lengths of runs of pixels outside and inside the mask in turn, column after column, or COCO's text of them.
    Raises KeyError, TypeError or ValueError for anything else.
    """
    (height, width), counts = encoded["size"], encoded["counts"]
    counts = _decode(counts) if isinstance(counts, str) else counts
    if not all(type(number) is int for number in (height, width, *counts)) or min(height, width) < 1:
        raise ValueError("not whole numbers")
    if min(counts, default=0) < 0 or sum(counts) > height * width:
        raise ValueError("runs that do not fit the size")
    x1, y1, x2, y2, position, before = width, height, 0, 0, 0, 0
    for k, count in enumerate(counts[: len(counts) // 2 * 2]):
        position += count
        x, y = divmod(position - k % 2, height)
        if k % 2 and before < x:  # more than one column
            y1, y2 = 0, height - 1
        before = x
        x1, y1, x2, y2 = min(x1, x), min(y1, y), max(x2, x), max(y2, y)
    return (x1, y1, x2 + 1, y2 + 1) if len(counts) > 1 else (0, 0, 0, 0)


def _decode(text: str) -> Sequence[int]:
    """Return the numbers of COCO's text: 5 bits a character, lowest first; from the fourth on, differences."""
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= 5 * MOST_CHARACTERS:
            raise ValueError(f"no run-length encoding: {character!r}")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (bits >> 4 & 1) << shift
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    if shift:
        raise ValueError("ends within a number")
    return counts
