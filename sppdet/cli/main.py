"""The command line: `sppdet COMMAND --help` says what each does. Results go to stdout, progress and log to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser

from sppdet import __version__
from sppdet.cli import classification, detection, evaluation, explanation, files, speed, training
from sppdet.cli.output import log_to_stderr, print_error
from sppdet.cli.parsing import Commands, add_commands, config_first, explain, one_line, run_command
from sppdet.errors import SppdetError
from sppdet.runtime.memory import keep_freed_memory

COMMANDS: Commands = {
    **training.COMMANDS,
    **classification.COMMANDS,
    **evaluation.COMMANDS,
    **detection.COMMANDS,
    **explanation.COMMANDS,
    **speed.COMMANDS,
    **files.COMMANDS,
}
RESUMED = ("demo", "train", "ablate", "classify train", "proposals", "download")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 for an error of the user's data, 2 for wrong usage, 130 for Ctrl-C."""
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
        command = " ".join(filter(None, (options.subcommand, options[options.subcommand].get("subcommand"))))
        run_command(options, COMMANDS)
    except ArgumentError as error:
        print_error(explain(error))
        return 2
    except SppdetError as error:
        print_error(one_line(error))
        return 1
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from here" if command in RESUMED else ""
        print(f"sppdet: interrupted{goes_on}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    return 0


def build_parser() -> ArgumentParser:
    """The parser of all commands."""
    parser = ArgumentParser(
        prog="sppdet",
        description="Train, evaluate and compare region-based detectors: SPPnet and R-CNN.",
        version=__version__,
        exit_on_error=False,
    )
    add_commands(parser, COMMANDS)
    return parser
