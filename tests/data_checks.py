"""What a check finds in the small set of `data_sets`."""

from pathlib import Path

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import Check, check_data
from sppdet.data.problems import Problem

NO_LEAST_SIZE = ProposalConfig(min_side=0)


def check(root: Path, proposals: ProposalConfig = NO_LEAST_SIZE, **options) -> Check:
    return check_data(DataConfig(root=str(root), **options), proposals)


def found(checked: Check, kind: str) -> list[Problem]:
    return [problem for problem in checked.problems if problem.kind == kind]


def faults(checked: Check) -> list[Problem]:
    """All problems but those of the small set: its val has no cat, its test no dog."""
    return [problem for problem in checked.problems if problem.kind != "class without objects"]


def assert_only(checked: Check, kind: str, severity: str, file: Path, field: str | None, message: str = "") -> None:
    """There is one problem in the data."""
    (problem,) = faults(checked)
    assert problem[:4] == (str(file), field, kind, severity)
    assert message in problem.message


def change(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file
