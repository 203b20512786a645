"""What the page asks, read with its limits."""

from typing import Any

import torch
from starlette.exceptions import HTTPException
from starlette.requests import Request
from torch import Tensor

from sppdet.errors import InputError
from sppdet.files.bounded_json import parse_json

MOST_BYTES = 64 << 20  # of an image
MOST_QUESTION = 1 << 16  # bytes of any other body


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises HTTPException 413 for one over the limit, before it is read where its length is given."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise HTTPException(413, f"too large (expected up to {limit >> 20 or 1} MB)")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"too large (expected up to {limit >> 20 or 1} MB)")
        parts.append(part)
    return b"".join(parts)


async def read_question(request: Request) -> dict[str, Any]:
    """Return the JSON object of a body. Raises InputError if it is none."""
    try:
        asked = parse_json(await read_body(request, MOST_QUESTION))
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise InputError("is no JSON object", field="body")
    return asked


def read_box(asked: dict[str, Any], size: tuple[int, int]) -> Tensor:
    """Return the box float32 (4,) of a question. Raises InputError if it is none in an image of `size` (H, W)."""
    box, (height, width) = asked.get("box"), size
    numbers = box if isinstance(box, list) and all(type(one) in (int, float) for one in box) else []
    inside = len(numbers) == 4 and 0 <= numbers[0] < numbers[2] <= width and 0 <= numbers[1] < numbers[3] <= height
    if not inside:
        raise InputError("no box in the image", field="box", expected=f"x1, y1, x2, y2 in {width} x {height}")
    return torch.tensor(numbers, dtype=torch.float32)


def read_whole_number(asked: dict[str, Any], name: str, least: int, most: int) -> int:
    value = asked.get(name)
    if type(value) is not int or not least <= value <= most:
        raise InputError("cannot be used", field=name, expected=f"a whole number, {least}..{most}")
    return value
