"""JSON of strangers: as deep as people write it, and no larger than may be read."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

MOST_DEEP = 100
STREAMED = 1 << 26  # bytes; a larger list is read in parts
PART = 1 << 22  # characters
LONGEST = 1 << 24  # characters of an entry of such a list
CHUNK = 1 << 20  # brackets
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
SPACE = re.compile(r"[ \t\n\r]*")
OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(data: bytes) -> Any:
    """Return the value of JSON in UTF-8 or UTF-16. Raises ValueError if it is none, or over 100 lists deep."""
    text = data if json.detect_encoding(data).startswith("utf-8") else data.decode(json.detect_encoding(data)).encode()
    if _is_deep(text) and _is_deep(STRING.sub(b"", text)):
        raise ValueError(f"lists and objects more than {MOST_DEEP} deep")
    return json.loads(text)


class JSONList:
    """The entries of a file of a JSON list in UTF-8, parsed one by one each time that they are asked for.

    Raises ValueError where the file is no such list, and OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, path: Path) -> "JSONList | None":
        """Return the list in a large file, None if the file is small, unreadable or does not begin as one."""
        with suppress(OSError), path.open("rb") as file:
            if path.stat().st_size > STREAMED and file.read(64).lstrip()[:1] == b"[":
                return cls(path)
        return None

    def __iter__(self) -> Iterator[Any]:
        decode = json.JSONDecoder().raw_decode
        with self.path.open(encoding="utf-8") as file:
            text, at = file.read(PART).lstrip()[1:], 0

            def look_ahead(at: int) -> tuple[str, int]:
                """Return text, and the place in it of the next character after `at` that is no space."""
                rest = text
                while len(rest) - (at := _skip(rest, at)) < PART // 2 and (more := file.read(PART)):
                    rest, at = rest[at:] + more, 0
                return rest, at

            for number in count():
                text, at = look_ahead(at)
                if text[at : at + 1] == "]" and not text[at + 1 :].strip() and not file.read().strip():
                    return
                if number:
                    if text[at : at + 1] != ",":
                        raise ValueError(f"no comma after entry {number - 1}, or text after the last")
                    text, at = look_ahead(at + 1)
                while True:
                    try:
                        value, at = decode(text, at)
                        break
                    except ValueError as error:
                        if len(text) - at > LONGEST or not (more := file.read(PART)):  # not just a long entry
                            raise ValueError(f"entry {number}: {getattr(error, 'msg', error)}") from error
                        text, at = text[at:] + more, 0
                yield value


def _skip(text: str, at: int) -> int:
    """Return the place of the next character that is no space."""
    match = SPACE.match(text, at)
    return match.end() if match else at


def _is_deep(text: bytes) -> bool:
    """Return True if more brackets are open at once, also if those in strings count."""
    brackets, depth = text.translate(None, OTHERS), 0
    for start in range(0, len(brackets), CHUNK):
        part = np.frombuffer(brackets[start : start + CHUNK], np.uint8)
        depths = depth + np.cumsum(np.where((part == ord("[")) | (part == ord("{")), 1, -1))
        if depths.max() > MOST_DEEP:
            return True
        depth = int(depths[-1])
    return False
