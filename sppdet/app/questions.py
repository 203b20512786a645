"""What the page asks, read with its limits."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from sppdet.errors import InputError
from sppdet.files.bounded_json import parse_json

MOST_BYTES = 64 << 20  # of an image
MOST_QUESTION = 1 << 16  # bytes of any other body


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises HTTPException 413 for one over the limit, before it is read where its length is given, and 400 if it ends
    early because the page was left.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise HTTPException(413, f"too large (expected up to {limit >> 20 or 1} MB)")
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise HTTPException(413, f"too large (expected up to {limit >> 20 or 1} MB)")
            parts.append(part)
    except ClientDisconnect:
        raise HTTPException(400, "the page was left") from None
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


def read_whole_number(asked: dict[str, Any], name: str, least: int, most: int) -> int:
    value = asked.get(name)
    if type(value) is not int or not least <= value <= most:
        raise InputError("cannot be used", field=name, expected=f"a whole number, {least}..{most}")
    return value
