"""The experiments under scripts/ call commands that exist, with options that they have."""

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from jsonargparse import Namespace

from sppdet.cli import build_parser

ROOT = Path(__file__).parents[1]


@pytest.fixture
def commands_of(tmp_path, monkeypatch):
    """Runs a script with a program in place of sppdet that writes its arguments down: what each call parses to."""
    program = '#!/bin/sh\nfor part; do printf "%s\\n" "$part" >>"$LOG"; done\necho >>"$LOG"\n'
    (tmp_path / "sppdet").write_text(program)
    (tmp_path / "sppdet").chmod(0o755)
    monkeypatch.chdir(ROOT)

    def run(name: str, *arguments: str) -> list[Namespace]:
        places = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
        (tmp_path / "out").mkdir()
        command = ["sh", f"scripts/{name}", "data", "w.pth", str(tmp_path / "out"), *arguments]
        subprocess.run(command, env={**os.environ, **places}, check=True)
        calls = [text.splitlines() for text in (tmp_path / "log").read_text().split("\n\n") if text.strip()]
        return [build_parser(call).parse_args(call) for call in calls]

    return run


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_short(script):
    assert len(script.read_text().splitlines()) <= 30


def test_classification(commands_of):
    parsed = [options.classify for options in commands_of("classify_voc.sh", "--precision", "bf16")]
    assert Counter(options.subcommand for options in parsed) == {"crops": 2, "train": 12, "evaluate": 15}
    assert {tuple(options.train.sizes) for options in parsed if options.subcommand == "train"} == {(224,), (224, 160)}
    assert all(options.evaluate.json for options in parsed if options.subcommand == "evaluate")


def test_lineage(commands_of):
    *trainings, last = commands_of("lineage_voc.sh", "--precision", "bf16")
    kinds = [(options.train.features, options.train.head) for options in trainings]
    assert len(kinds) == len(set(kinds)) == 8
    assert last.compare.runs == [options.train.output for options in trainings]
    assert {options.train.precision for options in trainings} == {last.compare.precision} == {"bf16"}
    same = ("svm", "softmax", "box_regression", "proposals", "backbone", "data", "seed")
    assert len({str([options.train[key] for key in same]) for options in trainings}) == 1
