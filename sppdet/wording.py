"""Words of messages."""

import re

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
