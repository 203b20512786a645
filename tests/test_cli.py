"""Every command on a small generated set, from arguments to what is printed and written."""

import json
import logging
import math
import os
import shutil
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
from docstring_parser import parse
from factories import run_json, run_text, train_arguments
from PIL import Image

from sppdet import __version__
from sppdet.cli import COMMANDS, main
from sppdet.commands.detect import _describe
from sppdet.commands.evaluate import evaluate
from sppdet.comparison import report
from sppdet.config.training import TrainConfig
from sppdet.data.proposal_files import write_proposals
from sppdet.data.voc import read_voc
from sppdet.detector import Detector
from sppdet.files.atomic import json_ready
from sppdet.shapes.scene import SHAPES
from sppdet.training import fit_heads as fitting
from sppdet.training import train as stages

COCO_NAMES = {"AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"} | {
    f"AR_{name}" for name in ("1", "10", "100", "small", "medium", "large")
}


@pytest.fixture
def place(trained, monkeypatch) -> Path:
    """The fixture `trained`, and its cache in place of an empty one."""
    monkeypatch.setenv("SPPDET_CACHE", str(trained / "cache"))
    return trained


@pytest.fixture
def run(place, tmp_path) -> Path:
    """A copy of the trained SPPnet run, to be changed."""
    return Path(shutil.copytree(place / "spp", tmp_path / "spp"))


def fail(*_arguments, **_options):
    raise AssertionError("must not be called")


def stop_after_one(patch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Presses Ctrl-C at the second call of a function."""
    function, done = getattr(owner, name), []

    def call(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return function(*arguments)

    patch.setattr(owner, name, call)


def detect_one(capsys, place: Path, output: Path, *options: object) -> list[dict]:
    """The detections of the first test image."""
    image = place / "shapes/JPEGImages/000016.jpg"
    (entry,) = run_json(capsys, "detect", place / "spp", image, "--output", output, *options)
    return entry["detections"]


def test_training_says_where_it_stands(place, tmp_path, capsys):
    out = run_text(capsys, *train_arguments(place, tmp_path / "new"))
    assert out == f"detector of 6 classes in {tmp_path / 'new'}\n"
    assert Detector.load(tmp_path / "new").classes == SHAPES
    # The same arguments and a warm cache give the same detector.
    assert (tmp_path / "new/detector.safetensors").read_bytes() == (place / "spp/detector.safetensors").read_bytes()


def test_progress_goes_to_stderr(place, run, capsys):
    (run / "detector.safetensors").unlink()
    assert main(train_arguments(place, run)) == 0
    captured = capsys.readouterr()
    assert "15 images, 6 classes; 3 held out" in captured.err
    assert "held out: the images of val\n" in captured.err
    assert "held-out images" in captured.err
    assert captured.out.count("\n") == 1


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_a_run_holds_its_detector_configuration_and_held_out_figures(place, features):
    assert Detector.load(place / features).config.features == features
    assert json.loads((place / features / "config.json").read_text())["features"] == features
    held_out = json.loads((place / features / "val.json").read_text())
    assert held_out["images"] == 3
    assert 0 <= held_out["map_voc07"] <= 1


def test_a_finished_run_is_left_alone(place, run, monkeypatch, capsys):
    monkeypatch.setattr(stages, "propose", fail)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.iterdir()}
    assert main(train_arguments(place, run)) == 0
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.iterdir()} == before
    assert "is trained already; to train again, remove it or give another --output" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_from_its_heads(place, run, monkeypatch):
    (run / "detector.safetensors").unlink()
    monkeypatch.setattr(fitting, "mine_svms", fail)
    monkeypatch.setattr(fitting, "fit_box_regression", fail)
    assert main(train_arguments(place, run)) == 0
    assert (run / "detector.safetensors").read_bytes() == (place / "spp/detector.safetensors").read_bytes()


def test_ctrl_c_keeps_what_was_detected(place, tmp_path, monkeypatch, capsys):
    stop_after_one(monkeypatch, Detector, "detect")
    photos = str(place / "shapes/JPEGImages")
    assert main(["detect", str(place / "spp"), photos, "--output", str(tmp_path / "found")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sppdet: interrupted"
    (entry,) = json.loads((tmp_path / "found/detections.json").read_text())
    assert Path(entry["picture"]).is_file()


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(place, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after_one(patch, fitting, "mine_svms")
        assert main(train_arguments(place, tmp_path / "run")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sppdet: interrupted; repeat the command to resume"
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        *("config.json", "data.json", "heads-train.safetensors", "mined.safetensors", "val.json")
    ]
    assert main(train_arguments(place, tmp_path / "run")) == 0
    assert (tmp_path / "run/detector.safetensors").read_bytes() == (place / "spp/detector.safetensors").read_bytes()


def test_another_configuration_in_the_same_output_is_an_error(place, run, capsys):
    assert main([*train_arguments(place, run), "--svm.C", "0.5", "--spp.scales", "[100]"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sppdet: error: {run}: output: holds a run of another configuration")
    assert line.endswith("(expected spp.scales=[120], svm.C=0.01, got spp.scales=[100], svm.C=0.5)")


def test_how_a_run_is_carried_out_may_change(place, run):
    assert main([*train_arguments(place, run), "--workers", "1", "--cache_gb", "1"]) == 0


def test_a_first_attempt_that_failed_does_not_bind_its_folder(place, tmp_path):
    wrong = [*train_arguments(place, tmp_path / "run"), "--data.root", "nowhere"]
    assert main(wrong) == 1
    assert main([*train_arguments(place, tmp_path / "run"), "--data.max_images", "6"]) == 0


def test_evaluate_prints_and_writes_the_numbers(place, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--data.root", place / "shapes", "--data.split", "test", "--workers", 0)
    assert set(numbers) == {"map_voc07", "map_area", "interval", "coco", "per_class", "images"}
    assert numbers["images"] == 6
    assert set(numbers["coco"]) == COCO_NAMES
    assert set(numbers["per_class"]) == set(SHAPES)
    assert numbers["map_voc07"] == pytest.approx(
        sum(row["ap_voc07"] for row in numbers["per_class"].values()) / len(SHAPES), abs=1e-12
    )
    assert 0.02 < numbers["map_voc07"] < 1  # a fraction, of a detector that finds something
    folder = run / "test"
    assert json.loads((folder / "evaluation.json").read_text()) == numbers
    assert set(json.loads((folder / "curves.json").read_text())) == set(SHAPES)
    assert (folder / "precision_recall.png").stat().st_size > 1000
    assert len(list((folder / "comp4").glob("comp4_det_test_*.txt"))) == 6


def test_data_are_by_default_the_test_split_of_those_a_run_was_trained_on(place, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--workers", 0, "--resamples", 0)
    shutil.rmtree(run / "test")
    data = ("--data.root", place / "shapes", "--workers", 0)
    assert numbers == run_json(capsys, "evaluate", run, *data, "--resamples", 0)
    assert run_json(capsys, "diagnose", run)["mean"]["ap"]["as_is"] == pytest.approx(numbers["map_area"], abs=1e-12)
    few = run_json(capsys, "evaluate", run, "--data.max_images", 2, "--data.split", "val", "--resamples", 0)
    assert (few["images"], (run / "val-2/evaluation.json").is_file()) == (2, True)


def test_a_run_on_coco_data_asks_for_the_annotations_to_evaluate_on(run, capsys):
    config = json.loads((run / "config.json").read_text())
    config["data"]["annotations"] = "train.json"
    (run / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(run)]) == 1
    assert "data.annotations" in capsys.readouterr().err
    (run / "config.json").unlink()
    assert main(["evaluate", str(run)]) == 1
    assert "data.root: the run does not say which data it was trained on" in capsys.readouterr().err


def test_a_detector_is_evaluated_on_data_in_memory(place, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--workers", 0)
    result = evaluate(Detector.load(run), dataset=read_voc(place / "shapes", "test"), workers=0)
    assert json_ready(result.as_dict()) == numbers
    assert result.folder is None
    assert result.map_voc07 == numbers["map_voc07"]
    assert str(result) in run_text(capsys, "evaluate", run, "--workers", 0)


@pytest.mark.parametrize("form", ["detections.json", "comp4"])
def test_written_detections_give_the_numbers_of_their_run(place, run, form, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--data.split", "test")
    numbers = run_json(capsys, "evaluate", run, *data, "--workers", 0, "--output", tmp_path / "results")
    again = run_json(capsys, "evaluate", "--detections", tmp_path / "results" / form, *data)
    assert again == numbers


def test_the_interval_stands_beside_the_map(place, run, capsys):
    arguments = ("evaluate", run, "--data.root", place / "shapes", "--workers", 0, "--resamples", 50)
    numbers = run_json(capsys, *arguments)
    low, high = numbers["interval"]["map_voc07"]
    assert 0 < low < numbers["map_voc07"] < high < 1
    assert (numbers["interval"]["resamples"], numbers["interval"]["level"]) == (50, 0.95)
    lines = run_text(capsys, *arguments).split("\n")
    row = next(n for n, line in enumerate(lines) if line.startswith("mAP"))
    assert lines[row].split()[1] == f"{100 * numbers['map_voc07']:.2f}%"
    assert f"interval  {100 * low:.1f} to {100 * high:.1f}  " in lines[row + 1]
    assert lines[row + 2].endswith("95% of 50 resamples")
    detections = ("evaluate", "--detections", run / "test/comp4", "--data.root", place / "shapes", "--resamples", 0)
    assert run_json(capsys, *detections) == {key: value for key, value in numbers.items() if key != "interval"}
    (line,) = [line for line in run_text(capsys, *detections).split("\n") if line.startswith("mAP")]
    assert line.split()[1:3] == [f"{100 * numbers[name]:.2f}%" for name in ("map_voc07", "map_area")]


@pytest.fixture
def other(place, tmp_path) -> Path:
    """A copy of the trained R-CNN run, to be changed."""
    return Path(shutil.copytree(place / "crop", tmp_path / "crop"))


def test_two_runs_are_compared_on_the_same_resamples(place, run, other, monkeypatch, capsys):
    data = ("--data.root", place / "shapes", "--workers", 0)
    numbers = run_json(capsys, "evaluate", run, *data, "--against", other)
    assert not (other / "test").exists(), "the other run is left as it was"
    theirs = run_json(capsys, "evaluate", other, *data)
    assert numbers["against"] == {"name": str(other)} | {
        key: pytest.approx(theirs[key], abs=1e-12) if key != "interval" else theirs[key]
        for key in ("map_voc07", "map_area", "interval")
    }
    for key in ("map_voc07", "map_area"):
        assert numbers["difference"][key] == pytest.approx(numbers[key] - theirs[key], abs=1e-12)
        assert numbers["difference"][key] != 0
        low, high = numbers["difference"]["interval"][key]
        assert low < high
    monkeypatch.setattr(Detector, "load", fail)  # both have left their detections
    again = ("evaluate", "--detections", run / "test/detections.json", *data, "--against")
    assert run_json(capsys, *again, other) == numbers
    from_file = run_json(capsys, *again, other / "test/comp4")
    assert from_file["difference"] == numbers["difference"]
    lines = run_text(capsys, *again, other).split("\n")
    theirs_row, difference_row = (
        next(n for n, line in enumerate(lines) if line.startswith(name)) for name in (f"mAP of {other}", "difference")
    )
    change, (low, high) = numbers["difference"]["map_voc07"], numbers["difference"]["interval"]["map_voc07"]
    assert lines[difference_row].split()[2] == f"{100 * change:+.2f}"
    assert f" {100 * low:+.1f} to {100 * high:+.1f}  " in lines[difference_row + 1]
    assert lines[theirs_row].split()[3] == f"{100 * theirs['map_voc07']:.2f}%"
    assert "interval" in lines[theirs_row + 1]
    itself = run_json(capsys, *again, run)["difference"]
    assert itself["map_voc07"] == 0
    assert itself["interval"]["map_voc07"] == itself["interval"]["map_area"] == [0, 0]


def test_saved_detections_are_taken_only_where_they_fit(place, run, other, capsys):
    data = ("--data.root", place / "shapes", "--workers", 0)
    theirs = run_json(capsys, "evaluate", other, *data)["map_voc07"]
    saved = other / "test/detections.json"
    against = ("evaluate", run, *data, "--resamples", 0, "--against", other)

    def map_of_the_other() -> float:
        return run_json(capsys, *against)["against"]["map_voc07"]

    saved.write_text("[]")
    assert map_of_the_other() == 0
    os.utime(other / "detector.safetensors", (2e9, 2e9))
    assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), "the detector is younger"
    os.utime(other / "detector.safetensors", (1e9, 1e9))
    assert map_of_the_other() == 0
    (other / "test/evaluation.json").write_text("{}")
    assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), "of no images known"
    run_json(capsys, "evaluate", other, *data, "--data.max_images", 3)
    assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), "of other images"


@pytest.fixture
def evaluated(place, run) -> Path:
    """A copy of the trained SPPnet run after `sppdet evaluate`."""
    assert main(["evaluate", str(run), "--data.root", str(place / "shapes"), "--workers", "0"]) == 0
    return run


def test_diagnose_reads_what_evaluate_left(place, evaluated, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--data.split", "test")
    numbers = run_json(capsys, "diagnose", evaluated, *data)
    evaluation = json.loads((evaluated / "test/evaluation.json").read_text())
    assert numbers["mean"]["ap"]["as_is"] == pytest.approx(evaluation["map_area"], abs=1e-12)
    assert set(numbers["per_class"]) == set(SHAPES)
    for name, row in numbers["per_class"].items():
        assert row["ap"]["as_is"] == evaluation["per_class"][name]["ap_area"]
        assert sum(row["top"].values()) <= row["positives"] == evaluation["per_class"][name]["positives"]
        assert row["top"]["similar"] == 0  # none of these classes is VOC's
    assert sum(row["top"]["other"] for row in numbers["per_class"].values()) > 0
    assert json.loads((evaluated / "test/diagnosis.json").read_text()) == numbers
    with Image.open(evaluated / "test/diagnosis.png") as picture:
        assert picture.format == "PNG"
    for form in ("detections.json", "comp4"):
        output = tmp_path / form
        again = run_json(capsys, "diagnose", "--detections", evaluated / "test" / form, *data, "--output", output)
        assert again == numbers
        assert sorted(file.name for file in output.iterdir()) == ["diagnosis.json", "diagnosis.png"]


def test_diagnose_prints_tables(place, evaluated, capsys):
    arguments = ("diagnose", evaluated, "--data.root", place / "shapes")
    top, gains, sizes, notes = run_text(capsys, *arguments).split("\n\n")
    for table in (top, gains, sizes):
        assert [line.split()[0] for line in table.split("\n")[1:8]] == [*SHAPES, "mean"]
    assert notes.endswith(f"written to {evaluated / 'test'}\n")
    numbers = json.loads((evaluated / "test/diagnosis.json").read_text())
    assert gains.split("\n")[7].split()[1] == f"{100 * numbers['mean']['ap']['as_is']:.1f}"
    similar = run_json(capsys, *arguments, "--similar", f"[[{','.join(SHAPES)}]]")
    for name, row in numbers["per_class"].items():
        assert similar["per_class"][name]["top"] == row["top"] | {"similar": row["top"]["other"], "other": 0}


def test_what_truncation_costs_is_printed(place, tmp_path, capsys):
    run, layers = tmp_path / "deep", ("--fc.depth", "2", "--fc.width", "64", "--pyramid.levels", "[2,1]")
    assert main([*train_arguments(place, run), *layers]) == 0
    arguments = ("evaluate", run, "--data.root", place / "shapes", "--workers", 0, "--svd", "[2,2]")
    numbers = run_json(capsys, *arguments)
    assert set(numbers["svd"]) == {"ranks", "map_voc07", "map_area", "change_voc07"}
    assert numbers["svd"]["ranks"] == [2, 2]
    assert numbers["map_voc07"] > 0.02
    assert numbers["svd"]["map_voc07"] != numbers["map_voc07"]
    assert numbers["svd"]["change_voc07"] == numbers["svd"]["map_voc07"] - numbers["map_voc07"]
    assert json.loads((run / "test/evaluation.json").read_text()) == numbers
    lines = run_text(capsys, *arguments).split("\n")
    row = next(n for n, line in enumerate(lines) if "SVD [2, 2]" in line)
    assert f"{100 * numbers['svd']['map_voc07']:.2f}%" in lines[row]
    assert f"{100 * numbers['svd']['change_voc07']:+.2f}" in lines[row + 1]
    whole = run_json(capsys, *arguments[:-1], "[1000,1000]")
    assert whole["svd"]["change_voc07"] == 0
    assert whole["map_voc07"] == numbers["map_voc07"]


def test_evaluate_takes_the_proposals_of_another_program(place, tmp_path, capsys):
    """With only the objects themselves as proposals no detection can lie anywhere else."""
    test = read_voc(place / "shapes", "test")
    boxes = [image.boxes for image in test.images]
    write_proposals(tmp_path / "objects.npz", [image.id for image in test.images], boxes)
    data = ("--data.root", place / "shapes", "--proposals", tmp_path / "objects.npz", "--output", tmp_path)
    numbers = run_json(capsys, "evaluate", place / "spp", *data)
    objects = sum(map(len, boxes))
    assert 0 < len(json.loads((tmp_path / "detections.json").read_text())) <= objects * len(SHAPES)
    assert numbers["map_voc07"] > 0


def test_evaluate_prints_a_table(run, capsys):
    lines = run_text(capsys, "evaluate", run, "--workers", 0, "--data.max_images", 3).split("\n")
    assert [line.split()[0] for line in lines[:8]] == ["AP", *SHAPES, "mAP"]
    assert "3 images" in lines[9]


def test_evaluate_gives_probabilities_where_asked(place, tmp_path, capsys):
    arguments = ("evaluate", place / "spp", "--data.root", place / "shapes", "--workers", 0, "--output", tmp_path)
    raw = run_json(capsys, *arguments)
    numbers = run_json(capsys, *arguments, "--probabilities")
    reliability = numbers.pop("reliability")
    assert numbers["per_class"] == raw["per_class"]
    found = json.loads((tmp_path / "detections.json").read_text())
    assert all(0 < entry["score"] < 1 for entry in found)
    assert sum(row["detections"] for row in reliability["bins"]) == len(found) > 10
    assert 0 <= reliability["error"] <= 1
    lines = run_text(capsys, *arguments, "--probabilities").splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.startswith("probability")]
    counts = [int(line.split()[-1]) for line in lines[head + 1 : head + 11]]
    assert counts == [row["detections"] for row in reliability["bins"]]


def test_detect_gives_probabilities_where_asked(place, tmp_path, capsys):
    detect = partial(detect_one, capsys, place, tmp_path)

    def boxes(found: list[dict]) -> list[tuple]:
        return sorted((row["class"], *row["box"]) for row in found)

    everything = detect("--threshold", "-100")
    probable = detect("--threshold", "0", "--probabilities")
    assert boxes(everything) == boxes(probable)
    scores = sorted(row["score"] for row in probable)
    assert 0 < scores[0] < scores[-1] < 1
    middle = scores[len(scores) // 2]
    best = [row for row in probable if row["score"] >= middle]
    assert boxes(detect("--threshold", repr(middle), "--probabilities")) == boxes(best)
    assert boxes(detect("--probabilities")) == boxes(detect())  # the classes' own thresholds draw the same


def test_probabilities_need_a_calibration(place, run, capsys):
    file = run / "detector.safetensors"
    detector = Detector.load(run)
    detector.calibration = None
    shutil.copy(file, run / "trained")
    detector.save(file)
    for arguments in (
        ["evaluate", str(run), "--data.root", str(place / "shapes"), "--probabilities"],
        ["detect", str(run), "nowhere.jpg", "--probabilities"],
        ["combine", str(run), str(place / "crop"), "--data.root", str(place / "shapes")],
    ):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"sppdet: error: {run}: calibration: gives no probabilities (expected")
    file.unlink()  # what the error says to do
    assert main(train_arguments(place, run)) == 0
    assert file.read_bytes() == (run / "trained").read_bytes()
    assert main(["evaluate", "--detections", "x.json", "--data.root", str(place / "shapes"), "--probabilities"]) == 1
    assert "needs a run" in capsys.readouterr().err


def test_combine_two_runs(place, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--workers", 0)
    runs = [place / "spp", place / "crop"]
    numbers = run_json(capsys, "combine", *runs, *data, "--output", tmp_path / "both")
    assert json.loads((tmp_path / "both/evaluation.json").read_text()) == numbers
    assert set(numbers["single"]) == {str(run) for run in runs}
    singles = []
    for run in runs:
        one = tmp_path / run.name
        alone = run_json(capsys, "evaluate", run, *data, "--output", one, "--probabilities")
        for key in ("map_voc07", "map_area"):
            assert numbers["single"][str(run)][key] == pytest.approx(alone[key])
        singles.append({(e["image_id"], e["score"]) for e in json.loads((one / "detections.json").read_text())})
    union = {(e["image_id"], e["score"]) for e in json.loads((tmp_path / "both/detections.json").read_text())}
    assert union < singles[0] | singles[1]
    assert union & singles[0]
    assert union & singles[1]
    # The written detections, in either form, give what the runs gave, and are themselves detections to evaluate.
    files = [tmp_path / "spp/detections.json", tmp_path / "crop/comp4"]
    again = run_json(capsys, "combine", *files, *data, "--output", tmp_path / "again")
    assert list(again.pop("single").values()) == list(numbers["single"].values())
    best = max(numbers["single"], key=lambda run: numbers["single"][run]["map_voc07"])
    assert numbers["difference"].pop("best") == best
    change = numbers["map_voc07"] - numbers.pop("single")[best]["map_voc07"]
    assert numbers["difference"]["map_voc07"] == pytest.approx(change)
    again["difference"].pop("best")
    assert again == numbers
    again = run_json(capsys, "evaluate", "--detections", tmp_path / "both/detections.json", *data)
    numbers = {key: value for key, value in numbers.items() if key not in ("reliability", "difference")}
    assert again == numbers


def test_combine_prints_each_alone(place, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--workers", 0, "--data.max_images", 3, "--output", tmp_path)
    lines = run_text(capsys, "combine", place / "spp", place / "crop", *data).splitlines()
    assert [line.split()[0] for line in lines[:8]] == ["AP", *SHAPES, "mAP"]
    assert [line.split()[2] for line in lines[9:13:2]] == [str(place / "spp"), str(place / "crop")]
    assert lines[-1] == f"written to {tmp_path}"


def test_what_cannot_be_combined_is_named(place, run, tmp_path, capsys):
    data = ["--data.root", str(place / "shapes"), "--workers", "0", "--output", str(tmp_path / "out")]
    spp, raw = str(place / "spp"), tmp_path / "raw.json"
    image_id = read_voc(place / "shapes", "test").images[0].id
    raw.write_text(json.dumps([{"image_id": image_id, "category_id": 1, "bbox": [0, 0, 9, 9], "score": -0.5}]))
    other = Detector.load(run)
    other.classes = tuple(reversed(other.classes))
    other.save(run / "detector.safetensors")
    for runs, said in (
        ([spp], "runs: cannot be combined"),
        ([spp, spp], "runs: cannot be combined"),
        ([spp, str(place / "crop"), "--resamples", "-1"], "resamples: out of range"),
        ([spp, str(raw)], f"{raw}: score: not a probability (expected 0..1, as written by `sppdet"),
        ([spp, str(run)], f"{run}: the detector's classes are not the data's"),
        ([spp, str(tmp_path)], f"{tmp_path}/detector.safetensors: file not found"),
        ([spp, str(tmp_path / "none.json")], f"{tmp_path}/none.json: no such file"),
    ):
        assert main(["combine", *runs, *data]) == 1
        assert f"sppdet: error: {said}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_detect_gives_pictures_and_boxes(place, tmp_path, capsys):
    images = sorted((place / "shapes/JPEGImages").glob("00001*.jpg"))[:2]
    entries = run_json(capsys, "detect", place / "spp", *images, "--output", tmp_path)
    assert json.loads((tmp_path / "detections.json").read_text()) == entries
    assert [entry["image"] for entry in entries] == [str(image) for image in images]
    detector = Detector.load(place / "spp")
    thresholds = dict(zip(detector.classes, detector.thresholds.tolist(), strict=True))
    for entry in entries:
        with Image.open(entry["image"]) as image, Image.open(entry["picture"]) as picture:
            assert picture.size == image.size
            width, height = image.size
        for found in entry["detections"]:
            x1, y1, x2, y2 = found["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert found["score"] >= thresholds[found["class"]]


def test_the_threshold_overrides_those_of_the_classes(place, tmp_path, capsys):
    def scores(threshold: str) -> list[float]:
        return [found["score"] for found in detect_one(capsys, place, tmp_path, "--threshold", threshold)]

    everything = scores("-100")
    assert len(everything) > 10
    middle = sorted(everything)[len(everything) // 2]
    assert scores(repr(middle)) == [score for score in everything if score >= middle]
    assert scores("100") == []


@pytest.fixture
def folder(place, tmp_path) -> Path:
    """A folder with one photograph, b.jpg."""
    (tmp_path / "photos").mkdir()
    shutil.copy(place / "shapes/JPEGImages/000016.jpg", tmp_path / "photos/b.jpg")
    return tmp_path / "photos"


def test_detect_takes_a_folder_and_prints_lines(place, folder, tmp_path, capsys):
    with Image.open(folder / "b.jpg") as image:
        image.save(folder / "b.png")
    (folder / "notes.txt").write_text("not an image")
    out = run_text(capsys, "detect", place / "spp", folder, "--output", tmp_path / "out", "--threshold", "100")
    assert out.splitlines() == [
        f"{folder / 'b.jpg'}: nothing",
        f"{folder / 'b.png'}: nothing",
        f"written to {tmp_path / 'out'}",
    ]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["b-2.jpg", "b.jpg", "detections.json"]


def test_an_unreadable_image_does_not_lose_the_others(place, folder, tmp_path, capsys):
    (folder / "a.jpg").write_text("not an image")
    arguments = ["detect", str(place / "spp"), "nowhere.jpg", str(folder), "--output", str(tmp_path / "out")]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [
        str(folder / "b.jpg"),
        f"written to {tmp_path / 'out'}",
    ]
    errors = [line for line in captured.err.splitlines() if line.startswith("sppdet: error: ")]
    assert [line.split(": ")[2] for line in errors] == ["nowhere.jpg", str(folder / "a.jpg")]
    (entry,) = json.loads((tmp_path / "out/detections.json").read_text())
    assert (entry["image"], entry["picture"]) == (str(folder / "b.jpg"), str(tmp_path / "out/b.jpg"))
    assert (tmp_path / "out/b.jpg").is_file()


def test_no_score_is_a_negative_zero():
    assert _describe({"image": "a.jpg", "detections": [{"class": "RBC", "score": -0.001}]}) == "a.jpg: RBC 0.00"


def test_proposals_are_searched_once(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path))
    data = ("--data.root", place / "shapes", "--data.split", "test", "--data.max_images", 2)
    command = ("proposals", *data, "--workers", 0, "--proposals.width", "null")
    first = run_json(capsys, *command)
    assert (first["images"], first["searched"]) == (2, 2)
    assert first["seconds_per_image"] > 0
    second = run_json(capsys, *command)
    assert (second["searched"], second["seconds_per_image"]) == (0, None)
    same = set(first) - {"searched", "seconds_per_image"}
    assert {key: first[key] for key in same} == {key: second[key] for key in same}
    assert 0.5 < first["recall"] <= 1
    assert 0.5 < first["mabo"] <= 1
    out = run_text(capsys, *command)
    assert "(cached)" in out
    lines = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
    assert lines["recall at IoU 0.5"] == f"{100 * second['recall']:.2f}%"
    assert lines["mean average best overlap (MABO)"] == f"{100 * second['mabo']:.2f}%"
    assert {f"recall at IoU 0.5, {size}" for size in ("small", "medium", "large")} < set(lines)


def test_compare_two_runs(place, tmp_path, capsys):
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
    assert json.loads((tmp_path / "compare.json").read_text()) == result
    assert (tmp_path / "stages.png").is_file()
    assert (tmp_path / "growth.png").is_file()


def test_comparisons_have_folders_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr("sppdet.commands.runs.load_run", lambda *_: SimpleNamespace(classes=("disc",)))
    monkeypatch.setattr("sppdet.commands.runs.data_of_run", lambda *_: None)
    monkeypatch.setattr("sppdet.data.dataset.read_dataset", lambda *_: None)
    monkeypatch.setattr("sppdet.comparison.compare.compare_detectors", lambda *_: None)
    monkeypatch.setattr("sppdet.comparison.compare.write_comparison", lambda _, folder: folder)
    outputs = [run_text(capsys, "compare", *runs).strip() for runs in (["a"], ["x/a", "b"])]
    assert outputs == ["runs/compare-a", "runs/compare-a-b"]


def test_help_says_from_how_many_images_on_there_is_an_map(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert f"mAP from {report.MIN_MAP_IMAGES} images on" in " ".join(capsys.readouterr().out.split())


def test_compare_one_run_prints_a_table(place, tmp_path, capsys):
    options = ("--data.max_images", 1, "--regions", 10, "--growth", "[]", "--output", tmp_path)
    out = run_text(capsys, "compare", place / "spp", *options)  # on the test images of its own data set
    assert "spp-crop" in out
    assert out.endswith(f"written to {tmp_path}\n")


def test_help_and_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == out
    assert main(["nonsense"]) == 2
    assert main(["detect", "run"]) == 2


@pytest.mark.parametrize(
    "command", [[name, *part] for name, group in COMMANDS.items() for part in ([[each] for each in group] or [[]])]
)
def test_help_fits_a_terminal_and_documents_the_json(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: sppdet {' '.join(command)} [options]")
    assert max(map(len, out.splitlines())) <= 80
    assert "\nJSON" in out


def test_every_option_is_explained():
    for name, group in COMMANDS.items():
        for part in group or (None,):
            function = getattr(import_module(f"sppdet.commands.{name}"), part or name)
            explained = {one.arg_name for one in parse(function.__doc__).params}
            assert explained == set(signature(function).parameters), (name, part)


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"sppdet {__version__}\n"


@pytest.mark.parametrize("config", [["--config", "c.yaml"], ["--config=c.yaml"], ["--conf", "c.yaml"]])
@pytest.mark.parametrize("place_of_config", [0, 2, 4])
def test_options_win_over_the_file_wherever_they_stand(config, place_of_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("features: spp\nspp: {scales: [480]}\nsvm: {C: 0.5}\n")
    taken = []

    def stop(config: TrainConfig) -> None:
        taken.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train", stop)
    options = ["--features", "crop", "--svm.C", "0.01"]
    assert main(["train", *options[:place_of_config], *config, *options[place_of_config:]]) == 130
    assert (taken[0].features, taken[0].svm.C, taken[0].spp.scales) == ("crop", 0.01, (480,))


def test_a_warning_is_printed_once(tmp_path, capsys):
    assert main(["download", str(tmp_path), "--years", "[1999]"]) == 1  # sets the log up
    capsys.readouterr()
    for text in ("one", "two", "one"):
        logging.getLogger("sppdet").warning("%s: box %s skipped", tmp_path, text)
        logging.getLogger("sppdet").info("%s", text)
    assert [line.split()[-2:] for line in capsys.readouterr().err.splitlines()] == [
        *(["one", "skipped"], ["one"], ["two", "skipped"], ["two"], ["one"])
    ]
