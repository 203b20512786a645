"""The command line: `sppdet COMMAND` calls the function COMMAND of `sppdet/commands/COMMAND.py` (convert-data:
convert_data).

The options of the command are the parameters of that function, and the help is its docstring:

- Parameters that may be given by position are positional arguments, always text: `run: str` is required,
  `run: str | None = None` optional, `images: list[str]` one or more.
- Keyword-only parameters are options: `svd: list[int] | None = None` is --svd [8,8], a record such as
  `data: DataConfig` is --data.root, --data.split, ..., and a bool with the default False is a flag.
- A parameter `config` stands for the fields of its record, which a YAML file may give as well (--config FILE).
- A parameter `dataset` holds data in memory and is for Python only.

The function returns a record with `as_dict()`, printed for --json, and `__str__`, printed otherwise. Its `errors`, if
it has any, are of images that were left out: they are printed after the result, and the exit code is 1.
Results go to stdout, progress and log to stderr, less with --quiet, more with --verbose. No command file imports
torch before its function runs, nor do the annotations of options, so that `sppdet --help` stays quick.
"""

import argparse
import inspect
import io
import json
import logging
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from textwrap import fill
from types import ModuleType, SimpleNamespace
from typing import Any, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from sppdet import __version__
from sppdet.commands.following import next_step
from sppdet.commands.paths import check_paths
from sppdet.config.load import TOO_LARGE, config_action, one_line
from sppdet.config.usage import explain_usage
from sppdet.config.yaml import read_yaml_12
from sppdet.errors import SppdetError
from sppdet.log import log_to_stderr, write_counts
from sppdet.runtime.memory import keep_freed_memory
from sppdet.runtime.ranks import joined
from sppdet.wording import printable

logger = logging.getLogger(__name__)

GROUPS = {"classify": ("train", "evaluate", "predict", "crops"), "explain": ("pooling", "detection")}
NAMES = """
demo train ablate learning-curve plan classify runs info evaluate diagnose report combine
detect app export proposals explain compare
download check-data convert convert-data cache
"""
COMMANDS = {name: GROUPS.get(name, ()) for name in NAMES.split()}  # commands of a group are functions of one file
PYTHON_ONLY = ("dataset",)
JSON = "JSON, the result as --json prints it, is described in data/README.md."
# Explained here, for all commands.
COMMON = {"device": "auto (CUDA if torch finds it), cpu or cuda", "precision": "precision of the convolutions"}
RESUMED = ("demo", "train", "ablate", "learning-curve", "classify train", "proposals", "download")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 for an error in the user's data, 2 for wrong usage, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for what its encoding lacks, such as ASCII's
    log_to_stderr()
    keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else arguments
    command = ""
    parser = build_parser(arguments)
    try:
        if not arguments:
            parser.print_help(sys.stderr)
            return 2
        arguments = _config_first(arguments)
        options = _parse(parser, arguments)
        names: list[str] = []
        while options.get("subcommand"):  # a command, or a group and a command in it
            names.append(options.subcommand)
            options = options[names[-1]]
        command = " ".join(names)
        log_to_stderr(options.quiet, options.verbose)
        logger.debug("sppdet %s, Python %s", __version__, platform.python_version())
        with joined(command) as first:
            result = _call(function_of(*names), options)
        return _report(result, options.json, next_step(command, options)) if first else 0
    except ArgumentError as error:
        print_error(explain_usage(error, arguments, parser))
        return 2
    except SppdetError as error:
        logger.debug("where it was found:", exc_info=True)
        print_error(one_line(error))
        return 1
    except KeyboardInterrupt:
        resume = "; repeat the command to resume" if command in RESUMED else ""
        print(f"sppdet: interrupted{resume}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:  # such as a full disk, where the command does not say what it wrote
        print_error(one_line(SppdetError(error.strerror or str(error), file=error.filename or "output")))
        return 1
    finally:
        write_counts()


def build_parser(arguments: Sequence[str] | None = None) -> ArgumentParser:
    """Return the parser of all commands. If `arguments` are given, only commands named there have their options."""
    read_yaml_12()
    text = "Train, evaluate and compare region-based detectors: SPPnet and R-CNN."
    parser = _new_parser(prog="sppdet", description=text, version=__version__)
    choice = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, group in COMMANDS.items():
        parts = choice
        if group:
            part = _new_parser(description=module_of(name).__doc__)
            choice.add_subcommand(name, part, help=module_of(name).__doc__)
            parts = part.add_subcommands(metavar="COMMAND", title="commands")  # jsonargparse wants it added by now
        for each in group or (name,):
            function = function_of(name, each)
            named = arguments is None or each in arguments
            options = _parser_of(function) if named else _new_parser()
            parts.add_subcommand(each, options, help=str(function.__doc__).split("\n")[0])
    return parser


def _parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    try:
        return parser.instantiate(parser.parse_args(arguments))
    except OverflowError as error:  # as in a file: see `read_values`
        raise ArgumentError(None, TOO_LARGE) from error


def module_of(name: str) -> ModuleType:
    """Return the module of a command or group."""
    return import_module(f"sppdet.commands.{name.replace('-', '_')}")


def function_of(name: str, part: str | None = None) -> Callable[..., Any]:
    """Return the function of a command, or of a command `part` of a group."""
    function: Callable[..., Any] = getattr(module_of(name), (part or name).replace("-", "_"))
    return function


def _new_parser(**options: Any) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, formatter_class=_HelpFormatter, **options)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the paragraphs of a docstring, and leaves the options to their list below the usage."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *rest: Any, **more: Any) -> None:
        self._prog = f"{self._prog.replace(' [options]', '')} [options]"
        super().add_usage(usage, [action for action in actions if not action.option_strings], *rest, **more)

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and fill(heading, 78))


def _parser_of(function: Callable[..., Any]) -> ArgumentParser:
    """Return a parser of the options of `function`, described by its docstring."""
    doc = parse(inspect.getdoc(function) or "")
    texts = COMMON | {one.arg_name: one.description for one in doc.params}
    paragraphs = [doc.short_description or "", *(doc.long_description or "").split("\n\n"), JSON]
    description = "\n\n".join(fill(" ".join(text.split()), 78) for text in paragraphs if text)
    parser = _new_parser(description=description)
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
            parser.add_argument(_option_of(one.name), action="store_true", help=given["help"])
        else:
            parser.add_argument(_option_of(one.name), type=kinds[one.name], required=not optional, **given)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the result and warnings only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print details, such as the seconds of each stage")
    return parser


def _option_of(name: str) -> str:
    """Return the option of a parameter; that of `class_`, which Python would not call class, is --class."""
    return f"--{name.rstrip('_')}"


def _call(function: Callable[..., Any], options: Namespace) -> Any:
    """Call `function` with the options that its parser read."""
    given = {one.name: options[one.name.rstrip("_")] for one in _parameters(function) if one.name != "config"}
    if kind := _option_types(function).get("config"):
        given["config"] = kind(**{field.name: options[field.name] for field in fields(kind)})
    check_paths(given)
    return function(**given)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [one for one in parameters if one.name not in PYTHON_ONLY]


def _option_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of keyword-only parameters and of `config`, by name."""
    parameters = _parameters(function)
    options = {one.name: one.annotation for one in parameters if one.kind is one.KEYWORD_ONLY or one.name == "config"}
    return get_type_hints(SimpleNamespace(__annotations__=options), vars(sys.modules[function.__module__]))


def _config_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with --config before other options, so that these override the file wherever they stand."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    first = next((i for i, argument in enumerate(rest) if argument.startswith("-")), len(rest))
    return [*rest[:first], *(part for file in known.config for part in ("--config", file)), *rest[first:]]


def _report(result: Any, as_json: bool, following: str | None) -> int:
    """Print the result of a command, then the errors in it, or else the command that follows. Returns the exit code."""
    if as_json:
        from sppdet.files.atomic import json_ready

        print(json.dumps(json_ready(result.as_dict()), indent=1, allow_nan=False), flush=True)
    elif str(result):
        print(printable(str(result)), flush=True)
    errors = getattr(result, "errors", ())
    for error in errors:
        print_error(one_line(error))
    if following and not errors:
        logger.info("next: %s", following)
    return 1 if errors else 0


def print_error(text: str) -> None:
    with suppress(OSError):
        print(f"sppdet: error: {printable(text)}", file=sys.stderr)
