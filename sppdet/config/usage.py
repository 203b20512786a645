"""Wrong usage of the command line in the user's words."""

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentError

from sppdet.config.load import explain
from sppdet.errors import ConfigError
from sppdet.wording import did_you_mean, either

SYNONYMS = {"conf": "threshold", "confidence": "threshold", "lr": "learning_rate", "batch": "batch_size"}  # elsewhere


def explain_usage(error: ArgumentError, arguments: Sequence[str], parser: Any) -> str:
    """Return one line for wrong usage; instead of an option that does not exist it names similar ones of the command.

    parser: of all commands, with those of the commands as its choices.
    """
    text, options = explain(error), _options_of_command(arguments, parser)
    command = re.search(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)$", text)
    if command:
        names = re.findall(r"'([^']+)'", command[2])
        return f"no such command: {command[1]} ({did_you_mean(command[1], names) or 'expected ' + either(names)})"
    required = re.search(r"the following arguments are required: (.*)$", text)
    if required:  # each has its command in front: classify.crops.output
        keys = [key.rpartition(".") for key in required[1].split(", ")]
        names = [f"--{name}" if f"--{name}" in options else name for _, _, name in keys]
        words = keys[0][0].replace(".", " ")
        return f"{words} needs {', '.join(names)}; see sppdet {words} --help"
    group = re.search(r'expected "(.*)\.subcommand" to be one of {(.*)}', text)
    if group:
        return f"{group[1]} needs a command: {either(group[2].split(','))}"
    unknown = re.search(r"unrecognized arguments: .*?(--[^\s=]+)|^(--\S+): no such option$", text)
    if unknown:
        name = unknown[1] or unknown[2]
        expected = " or ".join(_similar(name, options)) or "one that --help lists"
        return str(ConfigError("no such option", field=name, expected=expected))
    if "Key must be a string" in str(error):  # of --data data.yaml, which was read as a file of parameters
        name = next((one for one in arguments if any(option.startswith(f"{one}.") for option in options)), "")
        return f"{name}: is a group of options (expected {name}.NAME VALUE)" if name else text
    return text


def _options_of_command(arguments: Sequence[str], parser: Any) -> list[str]:
    for name in arguments:
        choices = next((one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)), {})
        if name not in choices:
            break
        parser = choices[name]
    return [option for action in parser._actions for option in action.option_strings if option.startswith("--")]


def _similar(name: str, options: Sequence[str]) -> list[str]:
    """Return up to three options that are called so in another group or begin so, or else are spelled alike."""
    last = name.rpartition(".")[2].lstrip("-")
    meant = {last, SYNONYMS.get(last, last)}
    found = [option for option in options if option.rpartition(".")[2].lstrip("-") in meant]
    found += [option for option in options if option.startswith(name)]
    return list(dict.fromkeys(found or get_close_matches(name, options)))[:3]
