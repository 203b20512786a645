"""`sppdet report` of what `sppdet evaluate` left."""

import json

import pytest
from factories import run_error, run_json, run_text
from report_pages import block_of

from sppdet.commands.report import _read_comparison
from sppdet.errors import SppdetError
from sppdet.files.atomic import read_json, write_json
from sppdet.report import figures
from sppdet.report.page import MARK


@pytest.fixture(autouse=True)
def few_figures(monkeypatch) -> None:
    """Figures take most of the time; tests/report looks at them."""
    monkeypatch.setattr(figures, "PANELS", 1)


def test_it_reads_what_evaluate_left(place, run, data, tmp_path, capsys):
    run_text(capsys, "evaluate", run, *data)
    data, evaluated = ("--data.root", place / "shapes"), run
    output = tmp_path / "report.html"
    numbers = run_json(capsys, "report", evaluated, *data, "--output", output)
    assert numbers.pop("output") == str(output)
    assert block_of(output.read_text()) == numbers
    (run,) = numbers["runs"]
    assert run["evaluation"] == read_json(evaluated / "test/evaluation.json")
    assert run["config"] == read_json(evaluated / "config.json")
    assert run["held_out"] == read_json(evaluated / "val.json")
    assert run["probabilities"]
    assert sum(numbers["boxes"].values()) > 0
    text = output.read_text()
    assert f"sppdet evaluate {evaluated} --data.root {place / 'shapes'}\n" in text
    assert f"sppdet report {evaluated} --data.root {place / 'shapes'} --output {output}\n" in text
    assert "Detector of 6 classes" in text  # the README

    arguments = ("report", evaluated, *data, "--output", output)
    write_json(tmp_path / "compare.json", {"stages": {"spp": {"conv": "much"}}})
    assert "is no comparison" in run_error(capsys, *arguments, "--comparison", tmp_path)
    for damaged in ({"map_voc07": "<b>"}, run["evaluation"] | {"trained_on": [1]}):
        write_json(evaluated / "test/evaluation.json", damaged)
        assert "is no evaluation" in run_error(capsys, *arguments)
    assert output.read_text() == text  # as it was


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages", [1]),
        ("stages", {"spp": {}}),
        ("totals", {"spp": {"total": 1}}),
        ("growth", {"spp": {}}),
        ("growth", {"spp": {"many": 1}}),
        ("growth", {"spp": {"10": 1}, "crop": {"20": 1}}),
        ("speedup", {"spp": {"conv": "150"}}),
        ("images", float("inf")),
        ("regions", 10**400),
        ("machine", None),
        ("baseline", ["spp"]),
        ("threads", ...),
    ],
)
def test_what_is_no_comparison_is_said(tmp_path, key, value):
    times = {"images": 1, "regions": 1, "threads": 1, "machine": "a", "baseline": "a"}
    times |= {name: {} for name in ("stages", "totals", "growth", "speedup")}
    (tmp_path / "compare.json").write_text(json.dumps(times))
    assert _read_comparison(str(tmp_path), []) == times
    damaged = times | {key: value} if value is not ... else {name: times[name] for name in times if name != key}
    (tmp_path / "compare.json").write_text(json.dumps(damaged))
    with pytest.raises(SppdetError, match="is no comparison"):
        _read_comparison(str(tmp_path), [])


def test_files_of_others_stay_and_what_is_missing_is_said(place, run, tmp_path, capsys):
    data = ("--data.root", place / "shapes")
    thesis, own = tmp_path / "thesis.html", tmp_path / "own.html"
    thesis.write_text("mine")
    assert "exists already" in run_error(capsys, "report", run, *data, "--output", thesis)
    assert thesis.read_text() == "mine"
    assert "a .html or .htm file" in run_error(capsys, "report", run, *data, "--output", tmp_path / "report.pdf")
    own.write_text(f"<!doctype html>{MARK}")
    for output in (own, tmp_path / "new.html"):  # our own may be replaced
        error = run_error(capsys, "report", run, *data, "--output", output)
        assert f"{run / 'test/evaluation.json'}: not found" in error
        assert f"what `sppdet evaluate {run}` writes" in error
    assert not (tmp_path / "new.html").exists()
