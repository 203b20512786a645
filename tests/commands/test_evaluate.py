"""`sppdet evaluate`: what it prints and writes, comparisons and probabilities."""

import shutil

import pytest
from factories import find_row, proposal_file, run_error, run_json, run_text, train_arguments

from sppdet.cli import main
from sppdet.commands.evaluate import evaluate
from sppdet.data.formats.voc import read_voc
from sppdet.data.results.files import read_results
from sppdet.detector import Detector
from sppdet.evaluation.voc import evaluate_voc
from sppdet.files.atomic import json_ready, read_json, write_json
from sppdet.shapes.scene import SHAPES

COCO_NAMES = {"AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"} | {
    f"AR_{name}" for name in ("1", "10", "100", "small", "medium", "large")
}


@pytest.mark.usefixtures("figures")
def test_the_numbers_are_printed_and_written(data, run, capsys):
    numbers = run_json(capsys, "evaluate", run, *data, "--data.split", "test")
    assert set(numbers) == {"map_voc07", "map_area", "interval", "coco", "iou70", "per_class", "images"}
    assert numbers["images"] == 6
    assert set(numbers["coco"]) == COCO_NAMES
    assert set(numbers["per_class"]) == set(SHAPES)
    mean = sum(row["ap_voc07"] for row in numbers["per_class"].values()) / len(SHAPES)
    assert numbers["map_voc07"] == pytest.approx(mean, abs=1e-12)
    assert 0.02 < numbers["map_voc07"] < 1  # a fraction, of a detector that finds something
    folder = run / "test"
    test = read_voc(data[1], "test")
    found = read_results(folder / "detections.json", test)
    at_50, at_70 = (evaluate_voc(found, test.images, test.classes, iou) for iou in (0.5, 0.7))
    assert numbers["iou70"] == {"map_voc07": at_70.map_voc07, "map_area": at_70.map_area}
    assert 0 <= numbers["iou70"]["map_area"] < numbers["map_area"]
    assert read_json(folder / "evaluation.json") == numbers
    assert read_json(folder / "curves.json") == json_ready(dict(at_50.rows(curves=True)))
    assert (folder / "precision_recall.png").stat().st_size > 1000
    assert len(list((folder / "comp4").glob("comp4_det_test_*.txt"))) == 6


def test_data_are_by_default_the_test_split_of_those_a_run_was_trained_on(data, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--workers", 0, "--resamples", 0)
    shutil.rmtree(run / "test")
    assert numbers == run_json(capsys, "evaluate", run, *data, "--resamples", 0)
    assert run_json(capsys, "diagnose", run)["mean"]["ap"]["as_is"] == pytest.approx(numbers["map_area"], abs=1e-12)
    few = run_json(capsys, "evaluate", run, "--data.max_images", 2, "--data.split", "val", "--resamples", 0)
    assert (few["images"], (run / "val-2/evaluation.json").is_file()) == (2, True)


def test_a_run_on_coco_data_asks_for_the_annotations_to_evaluate_on(run, capsys):
    config = read_json(run / "config.json")
    config["data"]["annotations"] = "train.json"
    write_json(run / "config.json", config)
    assert "data.annotations" in run_error(capsys, "evaluate", run)
    (run / "config.json").unlink()
    assert "data.root: the run does not say which data it was trained on" in run_error(capsys, "evaluate", run)


def test_a_detector_is_evaluated_on_data_in_memory(place, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--workers", 0)
    result = evaluate(Detector.load(run), dataset=read_voc(place / "shapes", "test"), workers=0)
    assert json_ready(result.as_dict()) == numbers
    assert result.folder is None
    assert result.map_voc07 == numbers["map_voc07"]
    assert str(result) in run_text(capsys, "evaluate", run, "--workers", 0)


@pytest.mark.parametrize("form", ["detections.json", "comp4"])
def test_written_detections_give_the_numbers_of_their_run(data, run, form, tmp_path, capsys):
    data = (*data, "--data.split", "test")
    numbers = run_json(capsys, "evaluate", run, *data, "--output", tmp_path / "results")
    assert run_json(capsys, "evaluate", "--detections", tmp_path / "results" / form, *data) == numbers


def test_the_interval_stands_beside_the_map(data, run, capsys):
    arguments = ("evaluate", run, *data, "--resamples", 50)
    numbers = run_json(capsys, *arguments)
    low, high = numbers["interval"]["map_voc07"]
    assert 0 < low < numbers["map_voc07"] < high < 1
    assert (numbers["interval"]["resamples"], numbers["interval"]["level"]) == (50, 0.95)
    lines = run_text(capsys, *arguments).split("\n")
    row = find_row(lines, "mAP")
    assert lines[row].split()[1] == f"{100 * numbers['map_voc07']:.2f}%"
    assert f"interval  {100 * low:.1f} to {100 * high:.1f}  " in lines[row + 1]
    at_70 = [f"{100 * numbers['iou70'][name]:.2f}%" for name in ("map_voc07", "map_area")]
    assert lines[row + 2].split() == ["mAP", "at", "IoU", "0.7", *at_70]
    assert lines[row + 3].endswith("95% of 50 resamples")
    detections = ("evaluate", "--detections", run / "test/comp4", *data, "--resamples", 0)
    assert run_json(capsys, *detections) == {key: value for key, value in numbers.items() if key != "interval"}
    (line,) = [line for line in run_text(capsys, *detections).split("\n") if line.startswith("mAP  ")]
    assert line.split()[1:3] == [f"{100 * numbers[name]:.2f}%" for name in ("map_voc07", "map_area")]


def test_images_that_were_trained_on_are_counted_before_the_numbers(data, run, other, tmp_path, capsys, caplog):
    split = (*data, "--data.split", "val")
    numbers = run_json(capsys, "evaluate", run, *split, "--resamples", 0, "--against", other)
    assert numbers["trained_on"] == {str(run): 3, str(other): 3}
    text = run_text(capsys, "evaluate", run, *split)
    assert text.startswith(f"{run}: 3 of these 3 images were trained on\n")
    assert "trained_on" not in run_json(capsys, "evaluate", run, *data, "--resamples", 0)
    both = run_json(capsys, "combine", run, other, *split, "--output", tmp_path / "both")
    assert both["trained_on"] == numbers["trained_on"]
    run_json(capsys, "diagnose", run, *split[:2], "--data.split", "val")
    assert f"{run}: 3 of these 3 images were trained on" in caplog.text


def test_a_damaged_list_of_the_images_trained_on_is_an_error_before_anything_is_detected(
    data, run, other, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sppdet.commands.inputs.detect_dataset", None)
    file = run / "images.json"
    keys = file.read_text()
    file.write_text(keys.replace(key := read_json(file)["images"][0], key[::-1]))
    for command in (("evaluate", run), ("evaluate", other, "--against", run), ("combine", other, run)):
        output = ("--output", tmp_path / command[0]) if command[0] == "combine" else ()
        assert f"{file}: is damaged (expected the keys" in run_error(capsys, *command, *data, *output)


def test_data_are_looked_at_before_the_network(place, run, tmp_path, capsys, monkeypatch):
    root = tmp_path / "own"
    shutil.copytree(place / "shapes", root)
    names = (root / "ImageSets/Main/test.txt").read_text().split()
    for name in names[:2]:
        (root / f"JPEGImages/{name}.jpg").write_bytes(b"text")
    own = ("--data.root", root)
    with monkeypatch.context() as patch:
        patch.setattr(Detector, "load", None)
        for command in (("evaluate", run), ("compare", run), ("combine", run, place / "crop")):
            said = run_error(capsys, *command, *own)
            assert "2 of 6 images cannot be read" in said
            assert all(f"{name}.jpg" in said for name in names[:2])
            assert "nowhere: folder not found" in run_error(capsys, *command, "--data.root", "nowhere")
        assert "no images" in run_error(capsys, "detect", run, root / "Annotations")
    skipping = (run, *own, "--data.skip_unreadable", "true")
    assert run_json(capsys, "evaluate", *skipping)["images"] == 4
    assert run_json(capsys, "diagnose", *skipping)["mean"]


def test_what_truncation_costs_is_printed(place, data, tmp_path, capsys):
    run, layers = tmp_path / "deep", ("--fc.depth", "2", "--fc.width", "64", "--pyramid.levels", "[2,1]")
    assert main([*train_arguments(place, run), *layers]) == 0
    arguments = ("evaluate", run, *data, "--svd", "[2,2]")
    numbers = run_json(capsys, *arguments)
    assert set(numbers["svd"]) == {"ranks", "map_voc07", "map_area", "change_voc07"}
    assert numbers["svd"]["ranks"] == [2, 2]
    assert numbers["map_voc07"] > 0.02
    assert numbers["svd"]["map_voc07"] != numbers["map_voc07"]
    assert numbers["svd"]["change_voc07"] == numbers["svd"]["map_voc07"] - numbers["map_voc07"]
    assert read_json(run / "test/evaluation.json") == numbers
    lines = run_text(capsys, *arguments).split("\n")
    row = next(n for n, line in enumerate(lines) if "SVD [2, 2]" in line)
    assert f"{100 * numbers['svd']['map_voc07']:.2f}%" in lines[row]
    assert f"{100 * numbers['svd']['change_voc07']:+.2f}" in lines[row + 1]
    whole = run_json(capsys, *arguments[:-1], "[1000,1000]")
    assert whole["svd"]["change_voc07"] == 0
    assert whole["map_voc07"] == numbers["map_voc07"]


def test_takes_the_proposals_of_another_program(place, data, tmp_path, capsys):
    """With only the objects themselves as proposals no detection can lie anywhere else."""
    test = read_voc(place / "shapes", "test")
    boxes = [image.boxes for image in test.images]
    proposal_file(tmp_path / "objects.npz", [image.id for image in test.images], boxes)
    files = ("--proposals", tmp_path / "objects.npz", "--output", tmp_path / "out")
    numbers = run_json(capsys, "evaluate", place / "spp", *data, *files)
    objects = sum(map(len, boxes))
    assert 0 < len(read_json(tmp_path / "out/detections.json")) <= objects * len(SHAPES)
    assert numbers["map_voc07"] > 0


def test_prints_a_table(run, capsys):
    lines = run_text(capsys, "evaluate", run, "--workers", 0, "--data.max_images", 3).split("\n")
    assert [line.split()[0] for line in lines[:8]] == ["AP", *SHAPES, "mAP"]
    assert "3 images" in lines[10]


def test_probabilities_where_asked(place, data, tmp_path, capsys):
    arguments = ("evaluate", place / "spp", *data, "--output", tmp_path)
    raw = run_json(capsys, *arguments)
    numbers = run_json(capsys, *arguments, "--probabilities")
    reliability = numbers.pop("reliability")
    assert numbers["per_class"] == raw["per_class"]
    found = read_json(tmp_path / "detections.json")
    assert all(0 < entry["score"] < 1 for entry in found)
    assert sum(row["detections"] for row in reliability["bins"]) == len(found) > 10
    assert 0 <= reliability["error"] <= 1
    lines = run_text(capsys, *arguments, "--probabilities").splitlines()
    head = find_row(lines, "probability")
    counts = [int(line.split()[-1]) for line in lines[head + 1 : head + 11]]
    assert counts == [row["detections"] for row in reliability["bins"]]


def test_probabilities_need_a_calibration(place, data, run, tmp_path, capsys):
    file = run / "detector.safetensors"
    detector = Detector.load(run)
    detector.calibration = None
    shutil.copy(file, run / "trained")
    detector.save(file)
    for arguments in (
        ("evaluate", run, *data, "--probabilities"),
        (
            "detect",
            run,
            place / "shapes/JPEGImages/000016.jpg",
            "--output",
            tmp_path / "out",
            "--probabilities",
            "true",
        ),
        ("combine", run, place / "crop", *data),
    ):
        said = run_error(capsys, *arguments)
        assert f"sppdet: error: {run}: calibration: gives no probabilities (expected" in said
    file.unlink()  # what the error says to do
    assert main(train_arguments(place, run)) == 0
    assert file.read_bytes() == (run / "trained").read_bytes()
    assert "needs a run" in run_error(capsys, "evaluate", "--detections", "x.json", *data, "--probabilities")
