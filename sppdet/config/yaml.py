"""YAML as version 1.2 reads it: yes, no, on, off and 010 are text, and 1e-3 is a number."""

import re
from math import inf
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers, set_loader

MOST_CHARACTERS = 1_000_000  # which take seconds
MOST_NODES = 100_000
MOST_DEEP = 100
TAG = "tag:yaml.org,2002:"
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?(0|[1-9]\d*)")
FLOAT = re.compile(r"[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
REPLACED = {f"{TAG}{name}" for name in ("bool", "int", "float", "timestamp")}


class _Bounded:
    """A part of loaders that bounds the depth, and counts what aliases stand for before anything is made of it."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MOST_DEEP:
            raise yaml.YAMLError(f"lists and keys more than {MOST_DEEP} deep")
        node = super().compose_node(parent, index)  # type: ignore[misc]
        self.depth -= 1
        return node

    def get_single_node(self) -> Any:
        node = super().get_single_node()  # type: ignore[misc]
        if _count(node, {}) > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES} values, with those that aliases stand for")
        return node


class _Loader(_Bounded, yaml.SafeLoader):
    pass


class _TextLoader(_Bounded, yaml.BaseLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}bool", re.compile(f"^(?:{BOOL.pattern})$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(f"^(?:{INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{TAG}float", re.compile(f"^(?:{FLOAT.pattern})$"), list("-+.0123456789"))


def load_yaml(text: str, as_text: bool = False) -> Any:
    """Return the content of a YAML text; as_text: all values as text. Raises yaml.YAMLError if it is none, or large."""
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"more than {MOST_CHARACTERS} characters")
    try:  # both loaders are safe: they make values, no objects
        return yaml.load(text, Loader=_TextLoader if as_text else _Loader)  # nosec B506
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # such as of !!int x
        raise yaml.YAMLError(f"a value that cannot be read: {error}") from error


def _count(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Return the number of values in a node; infinite for one that is in itself. known: those of nodes, by identity."""
    if id(node) not in known:
        known[id(node)] = inf
        values = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = (part for value in values for part in (value if isinstance(value, tuple) else (value,)))
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(node)]


def read_yaml_12() -> None:
    """Make the command line and configuration files read YAML 1.2."""
    set_loader("yaml", load_yaml, (yaml.YAMLError,))
    # It reads text where a key is a number once more, by a loader of its own: 1_0 would be 10, and 1:30 would be 90.
    _loaders_dumpers.yaml_default_loader = _Loader  # type: ignore[assignment]
