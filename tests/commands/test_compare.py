"""`sppdet compare` and `sppdet proposals`: numbers, tables and files."""

import math
from types import SimpleNamespace

import pytest
from factories import run_json, run_text

from sppdet.cli import main
from sppdet.commands.compare import compare
from sppdet.comparison import report
from sppdet.files.atomic import read_json


@pytest.mark.usefixtures("figures")
def test_two_runs(place, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--data.max_images", 1, "--regions", 20, "--growth", "[10,20]")
    result = run_json(capsys, "compare", place / "spp", place / "crop", *data, "--output", tmp_path)
    assert (result["images"], result["regions"]) == (1, 20)
    assert set(result["stages"]) == {"spp", "crop"}
    for stages_of_one in result["stages"].values():
        assert set(stages_of_one) == {"proposals", "preprocess", "conv", "pooling", "heads", "nms"}
        assert all(seconds >= 0 for seconds in stages_of_one.values())
    assert set(result["speedup"]["spp"]) == {"conv", "without_proposals", "total"}
    conv = [result["stages"][name]["conv"] for name in ("crop", "spp")]
    assert math.isclose(result["speedup"]["spp"]["conv"], conv[0] / conv[1])
    assert read_json(tmp_path / "compare.json") == result
    assert (tmp_path / "stages.png").is_file()
    assert (tmp_path / "growth.png").is_file()


def test_one_run_prints_a_table_and_help_says_from_how_many_images_on_there_is_an_map(place, tmp_path, capsys):
    options = ("--data.max_images", 1, "--regions", 10, "--growth", "[]", "--output", tmp_path)
    out = run_text(capsys, "compare", place / "spp", *options)  # on the test images of its own data set
    assert "spp-crop" in out
    assert out.endswith(f"written to {tmp_path}\n")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert f"mAP from {report.MIN_MAP_IMAGES} images on" in " ".join(capsys.readouterr().out.split())


def test_comparisons_have_folders_of_their_own(monkeypatch):
    monkeypatch.setattr("sppdet.commands.inputs.load_run", lambda *_: SimpleNamespace(classes=("disc",)))
    monkeypatch.setattr("sppdet.commands.inputs.classes_of", lambda *_: ("disc",))
    monkeypatch.setattr("sppdet.commands.inputs.data_of_run", lambda *_: None)
    monkeypatch.setattr("sppdet.commands.inputs.read_data", lambda *_, **__: None)
    monkeypatch.setattr("sppdet.comparison.compare.compare_detectors", lambda *_: None)
    monkeypatch.setattr("sppdet.comparison.compare.write_comparison", lambda _, folder: folder)
    assert [compare(runs) for runs in (["a"], ["x/a", "b"])] == ["runs/compare-a", "runs/compare-a-b"]


def test_proposals_are_searched_once(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path))
    data = ("--data.root", place / "shapes", "--data.split", "test", "--data.max_images", 2)
    command = ("proposals", *data, "--workers", 0, "--proposals.width", "null")
    first, second = run_json(capsys, *command), run_json(capsys, *command)
    assert (first["images"], first.pop("searched")) == (2, 2)
    assert first.pop("seconds_per_image") > 0
    assert (second.pop("searched"), second.pop("seconds_per_image")) == (0, None)
    assert first == second
    assert 0.5 < first["recall"] <= 1
    assert 0.5 < first["mabo"] <= 1
    out = run_text(capsys, *command)
    assert "(cached)" in out
    lines = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
    assert lines["recall at IoU 0.5"] == f"{100 * second['recall']:.2f}%"
    assert lines["mean average best overlap (MABO)"] == f"{100 * second['mabo']:.2f}%"
    assert {f"recall at IoU 0.5, {size}" for size in ("small", "medium", "large")} < set(lines)
