"""Limits of what a file may take, and the environment variables that raise them."""

import os
from os import PathLike
from pathlib import Path

from sppdet.errors import ConfigError, DataError, SppdetError

BYTES = "SPPDET_MAX_BYTES"  # of a file that is read whole, and of what is unpacked from one
MOST_BYTES = 1 << 30


def read_variable(name: str) -> int | None:
    """Return an environment variable that is a positive whole number; None if it is not set.

    Raises ConfigError for any other text.
    """
    text = os.environ.get(name)
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise ConfigError("cannot be used", field=name, expected="a positive whole number", got=text)
    return int(text) if text else None


def check_bytes(count: int, file: str | PathLike[str], kind: type[SppdetError] = DataError) -> None:
    """Raise an error of this kind if so many bytes of a file are more than may be read."""
    if count > (read_variable(BYTES) or MOST_BYTES):
        raise kind("too large", file=file, expected=way_out(BYTES, count), got=f"{count} bytes")


def read_whole(file: str | PathLike[str], kind: type[SppdetError] = DataError) -> bytes:
    """Return the bytes of a file. Raises an error of this kind if they are more than may be read, and OSError."""
    check_bytes(Path(file).stat().st_size, file, kind)
    return Path(file).read_bytes()


def way_out(name: str, value: int) -> str:
    """Return what a user can do about a limit."""
    return f"a higher limit: environment variable {name}={value}"
