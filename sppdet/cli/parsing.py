"""What the command line adds to jsonargparse: options win over --config, and errors in the words of the user."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from sppdet.errors import ConfigError

# By name: what adds a command's arguments, and what runs it.
Commands = Mapping[str, tuple[Callable[[ArgumentParser], None], Callable[[Namespace], None]]]

TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "NoneType": "null"}


def config_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with --config before other options, so that these win over the file wherever they stand."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    found, rest = parser.parse_known_args(arguments)
    first = next((i for i, argument in enumerate(rest) if argument.startswith("-")), len(rest))
    return [*rest[:first], *(part for file in found.config for part in ("--config", file)), *rest[first:]]


def add_commands(parser: ArgumentParser, commands: Commands) -> None:
    """Let the first of a parser's arguments choose one of these commands."""
    choice = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, (add_arguments, run) in commands.items():
        command = ArgumentParser(description=run.__doc__, exit_on_error=False)
        choice.add_subcommand(name, command, help=(run.__doc__ or "").split("\n")[0])
        add_arguments(command)  # last: jsonargparse wants a command's own commands after it


def run_command(options: Namespace, commands: Commands) -> None:
    """Run the command that was chosen."""
    commands[options.subcommand][1](options[options.subcommand])


def explain(error: Exception, prefix: str = "--") -> str:
    """One line that names the option (after `prefix`), what is expected and what was given."""
    text = one_line(error)
    option = re.search(r'Parser key "([^"]+)"', text)
    if option is None:
        return text
    name = f"{prefix}{option[1]}"
    if "Unable to load config" in text:
        return f"{name}: is a group of options (expected {name}.NAME VALUE)"
    expected = re.findall(r"Expected an? (<class '\w+'>|typing\.Literal\[[^]]*\])", text)
    got = re.search(r"(?:Got|Given) value: ?(.*?)(?: - Expected an? .*)?$", text)
    if not expected or got is None:
        return text.replace(option[0], name)
    nested = re.match(r"NestedArg\(key='([^']+)', val=(.*)\)", got[1])
    if nested:
        return str(ConfigError("no such option", field=f"{name}.{nested[1]}", got=nested[2].strip("'")))
    wanted = " or ".join(_describe(kind, got[1]) for kind in expected)
    return str(ConfigError("cannot be used", field=name, expected=wanted, got=got[1] or "nothing"))


def one_line(error: Exception) -> str:
    """The message of the error without line breaks."""
    return " ".join(str(error).split())


class ConfigFile(ActionConfigFile):
    """--config FILE, checked on its own, so that an error in it names the file."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        try:
            found = parser.parse_path(values)
            super().__call__(parser, cfg, values, option_string)
        except (ArgumentError, TypeError, ValueError, OSError) as error:
            raise ConfigError(explain(error, prefix=""), file=values) from error
        for key in set(found.keys()) - set(parser.get_defaults().keys()):  # jsonargparse takes `svm: 3` for good
            raise ConfigError("is not a value but a group of keys", file=values, field=key, got=found[key])


def _describe(kind: str, got: str) -> str:
    """A type as jsonargparse prints it, in plain words."""
    if kind.startswith("typing.Literal"):
        return "one of " + ", ".join(re.findall(r"'([^']*)'", kind))
    name = kind.removeprefix("<class '").removesuffix("'>")
    if name in ("list", "tuple"):
        return f"a list such as [{got}]" if re.fullmatch(r"[\w.,-]+", got) else "a list in brackets, without spaces"
    return TYPES.get(name, name)
