"""YAML as version 1.2 reads it: yes, no, on, off and 010 are text, and 1e-3 is a number."""

import re
from typing import Any

import yaml
from jsonargparse import set_loader

TAG = "tag:yaml.org,2002:"
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?(0|[1-9]\d*)")
FLOAT = re.compile(r"[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
REPLACED = {f"{TAG}{name}" for name in ("bool", "int", "float", "timestamp")}


class _Loader(yaml.SafeLoader):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}bool", re.compile(f"^(?:{BOOL.pattern})$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(f"^(?:{INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{TAG}float", re.compile(f"^(?:{FLOAT.pattern})$"), list("-+.0123456789"))


def load_yaml(text: str) -> Any:
    """Return the content of a YAML text. Raises yaml.YAMLError if it is none."""
    return yaml.load(text, Loader=_Loader)


def read_yaml_12() -> None:
    """Make the command line and configuration files read YAML 1.2."""
    set_loader("yaml", load_yaml, (yaml.YAMLError,))
