"""Configuration records from plain values."""

from __future__ import annotations

from dataclasses import is_dataclass
from os import PathLike
from typing import Any, TypeVar, get_origin, get_type_hints

from sppdet.errors import ConfigError

T = TypeVar("T")


def config_from_dict(kind: type[T], values: dict[str, Any], file: str | PathLike[str] | None = None) -> T:
    """A configuration record from the plain values that `dataclasses.asdict` gave, lists back to tuples.

    Raises ConfigError that names the file and the first key that is unknown or whose value cannot be read.
    """
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ConfigError("unknown configuration key", file=file, field=name, expected=", ".join(sorted(hints)))
        nested, several = is_dataclass(hints[name]), get_origin(hints[name]) is tuple
        if (nested and not isinstance(value, dict)) or (several and not isinstance(value, (list, tuple))):
            raise ConfigError("cannot be read", file=file, field=name, expected="keys" if nested else "list", got=value)
        if nested:
            value = config_from_dict(hints[name], value, file)
        elif several:
            value = tuple(value)
        arguments[name] = value
    return kind(**arguments)
