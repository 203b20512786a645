"""The command line: `sppdet COMMAND` calls the function COMMAND of `sppdet/commands/COMMAND.py`.

The signature of that function is the command's options, and its docstring the help (see `sppdet.options`).
The function returns a record with `as_dict()`, printed for --json, and `__str__`, printed otherwise. Its `errors`, if
it has any, are of images that were left out: they are printed after the result, and the exit code is 1.
Results go to stdout, progress and log to stderr. No command file imports torch before its function runs, so that
`sppdet --help` stays quick.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from sppdet import __version__
from sppdet.config.load import explain, one_line
from sppdet.errors import SppdetError
from sppdet.options import HelpFormatter, call, config_first, parser_of
from sppdet.runtime.memory import keep_freed_memory

COMMANDS: dict[str, tuple[str, ...]] = {  # name: the commands of a group, functions of one file
    **{"demo": (), "train": (), "ablate": (), "classify": ("train", "evaluate", "predict", "crops"), "evaluate": ()},
    **{"diagnose": (), "combine": (), "detect": (), "proposals": (), "explain": ("pooling",), "compare": ()},
    **{"download": (), "convert": ()},
}
RESUMED = ("demo", "train", "ablate", "classify train", "proposals", "download")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 for an error in the user's data, 2 for wrong usage, 130 for Ctrl-C."""
    log_to_stderr()
    keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else arguments
    command = ""
    try:
        parser = build_parser()
        if not arguments:
            parser.print_help(sys.stderr)
            return 2
        options = parser.instantiate(parser.parse_args(config_first(arguments)))
        names = list(_chosen(options))
        command = " ".join(names)
        chosen = options[".".join(names)]
        return _report(call(_function(*names), chosen), chosen.json)
    except ArgumentError as error:
        print_error(explain(error))
        return 2
    except SppdetError as error:
        print_error(one_line(error))
        return 1
    except KeyboardInterrupt:
        resume = "; repeat the command to resume" if command in RESUMED else ""
        print(f"sppdet: interrupted{resume}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def build_parser() -> ArgumentParser:
    """Return the parser of all commands."""
    parser = ArgumentParser(
        prog="sppdet",
        description="Train, evaluate and compare region-based detectors: SPPnet and R-CNN.",
        version=__version__,
        exit_on_error=False,
        formatter_class=HelpFormatter,
    )
    choice = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, group in COMMANDS.items():
        if not group:
            _add_command(choice, name, _function(name))
            continue
        text = inspect.getdoc(import_module(f"sppdet.commands.{name}")) or ""
        part = ArgumentParser(description=text, exit_on_error=False, formatter_class=HelpFormatter)
        choice.add_subcommand(name, part, help=text.split("\n")[0])
        parts = part.add_subcommands(metavar="COMMAND", title="commands")  # jsonargparse wants it added by now
        for each in group:
            _add_command(parts, each, _function(name, each))
    return parser


def _function(name: str, part: str | None = None) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(f"sppdet.commands.{name}"), part or name)
    return function


def _add_command(choice: Any, name: str, function: Callable[..., Any]) -> None:
    choice.add_subcommand(name, parser_of(function), help=(function.__doc__ or "").split("\n")[0])


def _chosen(options: Namespace) -> Iterator[str]:
    """Yield the command and, if it is one of a group, its name there."""
    while options.get("subcommand"):
        yield options.subcommand
        options = options[options.subcommand]


def _report(result: Any, as_json: bool) -> int:
    """Print the result of a command, then the errors in it. Returns the exit code."""
    if as_json:
        print_json(result.as_dict())
    elif str(result):
        print(result)
    errors = getattr(result, "errors", ())
    for error in errors:
        print_error(one_line(error))
    return 1 if errors else 0


def print_json(result: Any) -> None:
    from sppdet.files.atomic import json_ready

    print(json.dumps(json_ready(result), indent=1, allow_nan=False))


def print_error(text: str) -> None:
    print(f"sppdet: error: {text}", file=sys.stderr)


class _ProgressHandler(logging.Handler):
    """Writes log lines above the progress bars, and a warning only once, though its file may be read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        line = self.format(record)
        if line not in self.warned:
            tqdm.write(line, file=sys.stderr)
        if record.levelno >= logging.WARNING:
            self.warned.add(line)


def log_to_stderr() -> None:
    logger = logging.getLogger("sppdet")
    if not logger.handlers:
        logger.addHandler(_ProgressHandler())
        logger.setLevel(logging.INFO)
