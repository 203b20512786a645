"""Commands that are not yet written as one function each; goes when the last of them is."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from sppdet.old_cli import detection, evaluation

COMMANDS = {
    **evaluation.COMMANDS,
    **detection.COMMANDS,
}


def add(choice: Any, name: str) -> None:
    add_arguments, run = COMMANDS[name]
    command = ArgumentParser(description=run.__doc__, exit_on_error=False)
    choice.add_subcommand(name, command, help=(run.__doc__ or "").split("\n")[0])
    add_arguments(command)


def run(name: str, options: Namespace) -> None:
    COMMANDS[name][1](options)
