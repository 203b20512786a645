"""Words of messages."""

import math
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache

# What a terminal obeys or cannot show: control characters but tabs and line ends, half characters, the bytes of paths
# that are not UTF-8, and marks that reverse the direction of the text.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return the text with escapes for the characters that a terminal would obey or cannot show.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "class"), counted(2, "class"), counted(0, "box"), counted(3, "entry"), counted(1000, "key")
    ('1 class', '2 classes', '0 boxes', '3 entries', '1000 keys')
    """
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeou":
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}{'es' if noun.endswith(('s', 'x')) else 's'}"


def duration(seconds: float) -> str:
    """Return about how long it is.

    >>> duration(0.2), duration(80), duration(150), duration(3 * 3600)
    ('1 s', '80 s', '3 min', '3.0 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word that is spelled most like this one, in upper or lower case; empty
    without any.

    >>> did_you_mean("evalute", ["evaluate", "detect"]), did_you_mean("CSV", ["csv"]), did_you_mean("xyzzy", ["csv"])
    ('did you mean evaluate?', 'did you mean csv?', '')
    """
    return "" if word.isdecimal() else _question(word, tuple(known))  # years, say, are not misspelled


@lru_cache(64)  # 20 ms among a thousand classes, for each of many objects
def _question(word: str, known: tuple[str, ...]) -> str:
    names = {name.casefold(): name for name in known}
    return "".join(f"did you mean {names[name]}?" for name in get_close_matches(word.casefold(), list(names), 1))


def either(names: Sequence[str]) -> str:
    """Return a list of names to choose from.

    >>> either(["csv", "voc", "yolo"]), either(["csv"])
    ('csv, voc or yolo', 'csv')
    """
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "")))
