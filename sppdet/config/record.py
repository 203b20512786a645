"""Configuration records that check themselves when they are made, and their plain form.

    @section("svm")
    class SVMConfig:
        C: float = positive(0.001)

makes a frozen dataclass; `SVMConfig(C=0)` raises ConfigError: "svm.C: out of range (expected more than 0, got 0)".
`section` is a decorator because jsonargparse takes records with a common base class for subclass types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cache
from math import inf
from os import PathLike, fspath
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

UNIONS = {get_origin(hint) for hint in (int | None, Literal[0] | None)}  # two classes of their own before Python 3.14

TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
    list: "a list",
    tuple: "a list",
}


def _field(default: T, contains: Callable[[Any], bool], expected: str, most: float = inf) -> T:
    """Declare a range. None is accepted if the type allows it; a list may be empty only if its default is."""
    return field(default=default, metadata={"contains": contains, "expected": expected, "most": most})


def more_than(bound: float, default: T, most: float = 1e9) -> T:
    """Declare a number more than `bound`, up to `most`."""
    return _field(default, lambda value: value > bound, f"more than {bound}", most)


def positive(default: T) -> T:
    return more_than(0, default)


def at_least(least: float, default: T, most: float = 2**31 - 1) -> T:
    """Declare a number of at least `least`, up to `most`."""
    return _field(default, lambda value: value >= least, f"at least {least}", most)


def seed(default: int) -> int:
    return at_least(0, default, 2**32 - 1)  # the largest of scikit-learn


def within(low: float, high: float, default: T) -> T:
    """Declare a number from `low` to `high`, both included."""
    return _field(default, lambda value: low <= value <= high, f"from {low} to {high}")


def any_number(default: T) -> T:
    """Declare a number that may be infinite, but is one."""
    return _field(default, lambda value: value == value, "a number")


def fraction(default: T) -> T:
    return within(0, 1, default)


def below_1(default: T) -> T:
    """Declare a number from 0 to 1, 1 excluded."""
    return _field(default, lambda value: 0 <= value < 1, "from 0 to below 1")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def section(prefix: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass that checks its values when it is made.

    Its keys are named "prefix.key" in errors. Lists become tuples if the field is one, and paths become text. Rules
    about several keys go into a method `check(self)` of the class, which is called last.
    """

    def decorate(kind: type[T]) -> type[T]:
        def check_fields(self: DataclassInstance) -> None:
            for name, hint in _hints(type(self)).items():
                object.__setattr__(self, name, _convert(getattr(self, name), hint))
                _check(type(self), name, getattr(self, name))
            if hasattr(self, "check"):
                self.check()

        kind.__post_init__ = check_fields  # type: ignore[attr-defined]
        kind.__section__ = prefix  # type: ignore[attr-defined]
        return dataclass(frozen=True)(kind)

    return decorate


def from_dict(kind: type[T], values: Mapping[str, Any], file: str | PathLike[str] | None = None) -> T:
    """Build a record from the plain values of `as_dict`; missing keys take their defaults.

    Raises ConfigError that names the file and the first key that is unknown or whose value cannot be used.
    """
    try:
        check_values(kind, values)
        hints: dict[str, Any] = {name: hint for name, hint in get_type_hints(kind).items() if is_dataclass(hint)}
        return kind(**{key: from_dict(hints[key], value) if key in hints else value for key, value in values.items()})
    except ConfigError as error:
        raise error.in_file(file) from error


def as_dict(record: DataclassInstance) -> dict[str, Any]:
    """Return the values of a record in plain form: nested records as dicts, tuples as lists."""
    return asdict(record, dict_factory=lambda items: {k: list(v) if isinstance(v, tuple) else v for k, v in items})


def base_of(record: DataclassInstance, kind: type[T]) -> T:
    """Return the part of a record that its base class declares, such as the detector of a training."""
    names = [part.name for part in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(record, name) for name in names})


def check_values(kind: type, values: Mapping[str, Any]) -> None:
    """Check the types and ranges of plain values given for a record, but no rules about several keys.

    Raises ConfigError that names the first key that is unknown or whose value cannot be used.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise ConfigError(
                "unknown configuration key", field=_key(kind, name), expected=tuple(sorted(hints)), got=name
            )
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            check_values(hints[name], value)
        else:
            _check(kind, name, _convert(value, hints[name]))


def _convert(value: Any, hint: Any) -> Any:
    if isinstance(value, PathLike):
        return fspath(value)
    return tuple(value) if get_origin(hint) is tuple and isinstance(value, list) else value


def _check(kind: type, name: str, value: Any) -> None:
    """Raise ConfigError unless the value has the type and is in the range of the record's field."""
    hint, part = _hints(kind)[name], kind.__dataclass_fields__[name]  # type: ignore[attr-defined]
    if not _fits(value, hint):
        raise ConfigError("cannot be used", field=_key(kind, name), expected=_describe(hint), got=value)
    contains = part.metadata.get("contains")
    if contains is None or value is None:
        return
    numbers = value if isinstance(value, tuple) else (value,)
    fits, most = all(map(contains, numbers)), part.metadata["most"]
    if (part.default and not numbers) or not fits or any(number > most for number in numbers):
        got = list(value) if isinstance(value, tuple) else value
        expected = f"at most {most:.10g}" if numbers and fits else part.metadata["expected"]
        raise ConfigError("out of range", field=_key(kind, name), expected=expected, got=got)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _key(kind: Any, name: str) -> str:
    return f"{kind.__section__}.{name}" if kind.__section__ else name


def _fits(value: Any, hint: Any) -> bool:
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in choices
    if origin in UNIONS:
        return any(_fits(value, choice) for choice in choices)
    if origin in (tuple, list):
        return isinstance(value, origin) and all(_fits(item, choices[0]) for item in value)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str | tuple[str, ...]:
    """A type in plain words, or the names to choose from."""
    origin = get_origin(hint)
    if origin is Literal:
        return tuple(map(str, get_args(hint)))
    if origin in UNIONS:
        parts = list(map(_describe, get_args(hint)))
        return next((part for part in parts if isinstance(part, tuple)), " or ".join(map(str, parts)))
    return TYPE_NAMES.get(get_origin(hint) or hint, "keys")
