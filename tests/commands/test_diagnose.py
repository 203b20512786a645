"""`sppdet diagnose` of what `sppdet evaluate` left."""

from pathlib import Path

import pytest
from factories import read_png, run_json, run_text

from sppdet.files.atomic import read_json
from sppdet.shapes.scene import SHAPES


@pytest.fixture
def evaluated(data, run, capsys) -> Path:
    """A copy of the trained SPPnet run after `sppdet evaluate`."""
    run_text(capsys, "evaluate", run, *data)
    return run


@pytest.mark.usefixtures("figures")
def test_it_reads_what_evaluate_left(place, evaluated, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--data.split", "test")
    numbers = run_json(capsys, "diagnose", evaluated, *data)
    evaluation = read_json(evaluated / "test/evaluation.json")
    assert numbers["mean"]["ap"]["as_is"] == pytest.approx(evaluation["map_area"], abs=1e-12)
    assert set(numbers["per_class"]) == set(SHAPES)
    for name, row in numbers["per_class"].items():
        assert row["ap"]["as_is"] == evaluation["per_class"][name]["ap_area"]
        assert sum(row["top"].values()) <= row["positives"] == evaluation["per_class"][name]["positives"]
        assert row["top"]["similar"] == 0  # none of these classes is VOC's
    assert sum(row["top"]["other"] for row in numbers["per_class"].values()) > 0
    assert read_json(evaluated / "test/diagnosis.json") == numbers
    read_png(evaluated / "test/diagnosis.png")
    for form in ("detections.json", "comp4"):
        output = tmp_path / form
        again = run_json(capsys, "diagnose", "--detections", evaluated / "test" / form, *data, "--output", output)
        assert again == numbers
        assert sorted(file.name for file in output.glob("[!.]*")) == ["diagnosis.json", "diagnosis.png"]


def test_it_prints_tables(place, evaluated, capsys):
    arguments = ("diagnose", evaluated, "--data.root", place / "shapes")
    top, gains, sizes, notes = run_text(capsys, *arguments).split("\n\n")
    for table in (top, gains, sizes):
        assert [line.split()[0] for line in table.split("\n")[1:8]] == [*SHAPES, "mean"]
    assert notes.endswith(f"written to {evaluated / 'test'}\n")
    numbers = read_json(evaluated / "test/diagnosis.json")
    assert gains.split("\n")[7].split()[1] == f"{100 * numbers['mean']['ap']['as_is']:.1f}"
    similar = run_json(capsys, *arguments, "--similar", f"[[{','.join(SHAPES)}]]")
    for name, row in numbers["per_class"].items():
        assert similar["per_class"][name]["top"] == row["top"] | {"similar": row["top"]["other"], "other": 0}
