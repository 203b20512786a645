"""Options of the command line from the signature of a function.

- Parameters that may be given by position are positional arguments, always text: `run: str` is required,
  `run: str | None = None` optional, `images: list[str]` one or more.
- Keyword-only parameters are options: `svd: list[int] | None = None` is --svd [8,8], a record such as
  `data: DataConfig` is --data.root, --data.split, ..., and a bool with the default False is a flag.
- A parameter `config` stands for the fields of its record, which a YAML file may give as well (--config FILE).
- A parameter `dataset` holds data in memory and is for Python only.

Help texts come from the docstring. Annotations of options have to be importable without torch; others need not be.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from textwrap import fill
from types import SimpleNamespace
from typing import Any, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from sppdet.config.load import config_action

PYTHON_ONLY = ("dataset",)


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the paragraphs of a docstring, and leaves the options to their list below the usage."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *rest: Any, **more: Any) -> None:
        self._prog = f"{self._prog.replace(' [options]', '')} [options]"
        super().add_usage(usage, [action for action in actions if not action.option_strings], *rest, **more)

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and fill(heading, 78))


def parser_of(function: Callable[..., Any]) -> ArgumentParser:
    """Return a parser of the options of `function`, described by its docstring."""
    doc = parse(inspect.getdoc(function) or "")
    texts = {one.arg_name: one.description for one in doc.params}
    paragraphs = [doc.short_description or "", *(doc.long_description or "").split("\n\n")]
    description = "\n\n".join(fill(" ".join(text.split()), 78) for text in paragraphs if text)
    parser = ArgumentParser(description=description, exit_on_error=False, formatter_class=HelpFormatter)
    kinds = _option_types(function)
    for one in _parameters(function):
        optional = one.default is not one.empty
        given: dict[str, Any] = {"help": texts.get(one.name), **({"default": one.default} if optional else {})}
        if one.name == "config":
            parser.add_argument("--config", action=config_action(kinds["config"]), help=given["help"])
            parser.add_class_arguments(kinds["config"])
        elif one.name not in kinds:
            several = str(one.annotation).startswith("list[")
            parser.add_argument(one.name, type=str, nargs="+" if several else "?" if optional else None, **given)
        elif kinds[one.name] is bool and one.default is False:
            parser.add_argument(f"--{one.name}", action="store_true", help=given["help"])
        else:
            parser.add_argument(f"--{one.name}", type=kinds[one.name], required=not optional, **given)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return parser


def call(function: Callable[..., Any], options: Namespace) -> Any:
    """Call `function` with the options that its parser read."""
    kinds, positional, keywords = _option_types(function), [], {}
    for one in _parameters(function):
        if one.name == "config":
            kind = kinds["config"]
            positional.append(kind(**{field.name: options[field.name] for field in fields(kind)}))
        elif one.kind is one.KEYWORD_ONLY:
            keywords[one.name] = options[one.name]
        else:
            positional.append(options[one.name])
    return function(*positional, **keywords)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [one for one in parameters if one.name not in PYTHON_ONLY]


def _option_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of keyword-only parameters and of `config`, by name."""
    parameters = _parameters(function)
    options = {one.name: one.annotation for one in parameters if one.kind is one.KEYWORD_ONLY or one.name == "config"}
    return get_type_hints(SimpleNamespace(__annotations__=options), vars(sys.modules[function.__module__]))


def config_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with --config before other options, so that these override the file wherever they stand."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    first = next((i for i, argument in enumerate(rest) if argument.startswith("-")), len(rest))
    return [*rest[:first], *(part for file in known.config for part in ("--config", file)), *rest[first:]]
