"""`sppdet check-data`: table, JSON, picture and exit code."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from data_sets import write_voc
from factories import read_png, run_text

from sppdet.cli import main
from sppdet.files.atomic import read_json
from sppdet.shapes.scene import SHAPES


@pytest.fixture
def voc(tmp_path) -> Path:
    return write_voc(tmp_path / "voc")


@pytest.mark.usefixtures("figures")
def test_right_data_exit_with_0(voc, tmp_path, capsys, monkeypatch):
    for name in "cef":  # each split has a cat and a dog
        shutil.copy(voc / "Annotations/a.xml", voc / f"Annotations/{name}.xml")
    text = run_text(capsys, "check-data", voc, "--proposals.min_side", 0, "--output", tmp_path / "out")
    assert "nothing wrong found" in text
    assert text.endswith(f"written to {tmp_path / 'out'}\n")
    assert read_json(tmp_path / "out/check.json")["problems"] == []
    read_png(tmp_path / "out/check.png")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run_text(capsys, "check-data", voc, "--proposals.min_side", 0).endswith("nothing wrong found\n")
    assert run_text(capsys, "check-data", voc, "--proposals.min_side", 500).endswith("--output FOLDER lists all\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_errors_exit_with_1_after_everything_is_printed(voc, tmp_path, capsys):
    for name in "ab":
        file = voc / f"Annotations/{name}.xml"
        file.write_text(file.read_text().replace("<width>64", "<width>640"))
    arguments = ["check-data", str(voc), "--proposals.min_side", "0", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 1
    captured = capsys.readouterr()
    numbers = json.loads(captured.out)
    assert numbers == read_json(tmp_path / "out/check.json")
    rest = [numbers["problems"].pop(), numbers["problems"].pop()]
    assert {problem["kind"] for problem in rest} == {"class without objects"}
    assert [problem["file"] for problem in numbers["problems"]] == [str(voc / f"Annotations/{n}.xml") for n in "ab"]
    assert set(numbers["problems"][0]) == {"file", "field", "kind", "severity", "message"}
    assert numbers["summary"]["kinds"][0] == {"kind": "annotated size", "severity": "error", "count": 2}
    assert numbers["summary"]["classes"]["dog"] == {"train": 0, "val": 2, "test": 0}
    wrong = f"sppdet: error: {voc}: 2 errors: something would be trained wrongly"
    where = f"all are in {tmp_path / 'out/check.json'}"
    way = "--data.strict false leaves these images or objects out of a training"
    assert captured.err.splitlines()[-1] == f"{wrong}; {where}, and {way}"
    (voc / "JPEGImages/d.png").write_text("no image")
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert "annotated size            error      2  Annotations/a.xml, Annotations/b.xml" in captured.out
    assert "3 errors: " in captured.err
    assert main(arguments[:-2]) == 1
    assert "; --output FOLDER lists all, and" in capsys.readouterr().err
    assert "--data.strict false and --data.skip_unreadable true leave these" in captured.err


def test_a_run_doubts_labels(place, run, tmp_path, capsys, monkeypatch):
    """The detections are replaced: a star where there is none, and the best class wherever an object is."""
    from sppdet.commands import inputs
    from sppdet.structures import Detections

    calls = []

    def detect_dataset(_detector, dataset, _workers):
        calls.append(dataset)
        corner = torch.tensor([[0.0, 0, 4, 4]])
        boxes = [torch.cat([image.boxes[:1], corner]) for image in dataset.images]
        return [
            Detections(each, torch.tensor([SHAPES.index("star") + 1] * len(each)), torch.full((len(each),), 1e6))
            for each in boxes
        ]

    monkeypatch.setattr(inputs, "detect_dataset", detect_dataset)
    output = tmp_path / "out"
    run_text(capsys, "check-data", "--run", run, "--data.root", place / "shapes", "--output", output)
    numbers = read_json(output / "check.json")
    doubts = [problem for problem in numbers["problems"] if problem["kind"].startswith("doubt: ")]
    images = sum(split["images"] for split in numbers["summary"]["splits"].values())
    assert len(calls[0].images) == images == 21
    missing = [problem for problem in doubts if problem["kind"] == "doubt: missing box"]
    assert {problem["field"] for problem in missing} == {"box (0, 0, 4, 4)"}
    wrong = [problem for problem in doubts if problem["kind"] == "doubt: wrong class"]
    assert wrong
    assert all(problem["field"] == "object[1]" and problem["severity"] == "warning" for problem in wrong)
    for problem in wrong:
        first = Path(problem["file"]).read_text().partition("</object>")[0]
        assert "<name>star</name>" not in first
        assert problem["message"].startswith("star detected at (")


def test_a_run_doubts_labels_of_its_own_data(place, run, tmp_path, capsys):
    output = tmp_path / "out"
    options = ("--data.max_images", 2, "--workers", 0, "--output", output)
    text = run_text(capsys, "check-data", "--run", run, *options)
    splits = read_json(output / "check.json")["summary"]["splits"]
    assert [split["images"] for split in splits.values()] == [2, 2, 2]
    assert text.startswith(str(place / "shapes"))
