"""Words of messages."""


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
