"""JSON of strangers: as deep as people write it, and no larger than may be read."""

import json
import re
from typing import Any

import numpy as np

MOST_DEEP = 100
CHUNK = 1 << 20  # brackets
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def parse_json(data: bytes) -> Any:
    """Return the value of JSON in UTF-8 or UTF-16. Raises ValueError if it is none, or over 100 lists deep."""
    text = data if json.detect_encoding(data).startswith("utf-8") else data.decode(json.detect_encoding(data)).encode()
    if _is_deep(text) and _is_deep(STRING.sub(b"", text)):
        raise ValueError(f"lists and objects more than {MOST_DEEP} deep")
    return json.loads(text)


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
