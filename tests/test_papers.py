"""Every name and option that stands beside a section of a paper exists."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import sppdet
from sppdet.cli import build_parser

TEXT = (Path(sppdet.__file__).parent / "PAPERS.md").read_text(encoding="utf-8")
ROWS = [line.rsplit("|", 2)[1] for line in TEXT.splitlines() if line.startswith("|") and "`" in line]
NAMES = sorted({name for cell in ROWS for name in re.findall(r"`([^`]+)`", cell)})


def exists(name: str) -> bool:
    """Whether sppdet.NAME is something in a module, or a field or method of a class there."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = import_module(".".join(["sppdet", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if part in getattr(found, "__annotations__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("--")])
def test_names_exist(name):
    assert exists(name)


def test_options_exist_and_what_does_not_is_noticed():
    options: set[str] = set()
    for command in (["train"], ["classify", "train"]):
        parser = build_parser(command)
        for part in command:
            parser = next(a for a in parser._actions if a.choices and part in a.choices).choices[part]
        options |= set(parser._option_string_actions)
    assert {name for name in NAMES if name.startswith("--")} <= options
    assert exists("boxes.nms")
    assert not any(map(exists, ("boxes.nns", "boxen.nms", "detector.Detector.truncate")))
    assert len(NAMES) > 80
