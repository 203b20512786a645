"""The example in the help of each command."""

import logging
import shlex
from itertools import pairwise
from pathlib import Path
from shutil import copy, copytree

import pytest

from sppdet.cli import COMMANDS, build_parser, function_of, main

EACH = [(name, *part) for name, group in COMMANDS.items() for part in ([[each] for each in group] or [[]])]
# Those that are quick with the runs of the tests, in this order: diagnose needs what evaluate writes.
RUN = "check-data, convert-data, classify crops, evaluate, diagnose, detect, info, runs"


def example(command: tuple[str, ...]) -> list[str]:
    """The words of the example, without the program."""
    doc = str(function_of(*command).__doc__)
    (line,) = [line.strip() for line in doc.splitlines() if line.strip().startswith("Example: ")]
    program, *words = shlex.split(line.removeprefix("Example: "))
    assert program == "sppdet"
    assert words[: len(command)] == list(command)
    return words


@pytest.mark.parametrize("command", EACH, ids=" ".join)
def test_it_is_understood(command, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    words = example(command)
    options = build_parser(words).parse_args(words)
    assert options.subcommand == command[0]


@pytest.mark.slow
def test_it_runs(trained, tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("SPPDET_CACHE", str(trained / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, run in (("mine", "spp"), ("other", "crop")):
        copytree(trained / run, Path("runs") / name)
    copytree(trained / "shapes", "photos")
    Path("holiday").mkdir()
    first, second, *_ = sorted((trained / "shapes/JPEGImages").iterdir())
    copy(first, "photo.jpg")
    copy(second, "holiday")
    for command in RUN.split(", "):
        words = example(tuple(command.split()))
        assert main([*words, "--quiet"]) == 0, command
        out, err = capsys.readouterr()
        assert out
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == len(caplog.records)
        assert len(err.splitlines()) <= len(warnings), "a quiet command only warns"
        caplog.clear()
        for given, made in pairwise(words):
            assert given != "--output" or Path(made).exists(), command
