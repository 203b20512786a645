import pytest

from sppdet.data.problems import LOGGED, Problems
from sppdet.errors import DataError


def fail(problems):
    with problems.collect("kind"):
        raise DataError("is wrong", file="f", field="x", expected="a", got="b")


def test_errors_are_raised_if_strict_and_collected_otherwise():
    with pytest.raises(DataError, match="f: x: is wrong"):
        fail(Problems())
    problems = Problems(strict=False)
    fail(problems)
    assert problems.found[0]._asdict() == {
        **{"file": "f", "field": "x", "kind": "kind", "severity": "error"},
        "message": "is wrong (expected a, got b)",
    }
    assert str(problems.found[0]) == "f: x: is wrong (expected a, got b)"


def test_warnings_are_logged_one_by_one_then_counted(caplog):
    problems = Problems()
    for i in range(LOGGED + 3):
        problems.warn("odd", "is odd", f"f{i}")
    problems.warn("rare", "is rare", "g", "x")
    problems.log()
    assert caplog.messages == [*(f"f{i}: is odd" for i in range(LOGGED)), "odd: 3 more", "g: x: is rare"]
    assert [problem.kind for problem in problems.found] == ["odd"] * (LOGGED + 3) + ["rare"]
