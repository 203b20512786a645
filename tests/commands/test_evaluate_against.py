"""`sppdet evaluate --against`: comparisons, and when saved detections are used again."""

import shutil

import pytest
from factories import find_row, run_error, run_json, run_text
from PIL import Image

from sppdet.detector import Detector
from sppdet.files.atomic import read_json, write_json


def test_two_runs_are_compared_on_the_same_resamples(data, run, other, monkeypatch, capsys):
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
    monkeypatch.setattr(Detector, "load", None)  # both have left their detections
    again = ("evaluate", "--detections", run / "test/detections.json", *data, "--against")
    assert run_json(capsys, *again, other) == numbers
    from_file = run_json(capsys, *again, other / "test/comp4")
    assert from_file["difference"] == numbers["difference"]
    lines = run_text(capsys, *again, other).split("\n")
    theirs_row, difference_row = find_row(lines, f"mAP of {other}"), find_row(lines, "difference")
    change, (low, high) = numbers["difference"]["map_voc07"], numbers["difference"]["interval"]["map_voc07"]
    assert lines[difference_row].split()[2] == f"{100 * change:+.2f}"
    assert f" {100 * low:+.1f} to {100 * high:+.1f}  " in lines[difference_row + 1]
    assert lines[theirs_row].split()[3] == f"{100 * theirs['map_voc07']:.2f}%"
    assert "interval" in lines[theirs_row + 1]
    itself = run_json(capsys, *again, run)["difference"]
    assert itself["map_voc07"] == 0
    assert itself["interval"]["map_voc07"] == itself["interval"]["map_area"] == [0, 0]


def test_saved_detections_are_taken_only_where_they_fit(data, run, other, capsys):
    theirs = run_json(capsys, "evaluate", other, *data)["map_voc07"]
    saved = other / "test/detections.json"
    against = ("evaluate", run, *data, "--resamples", 0, "--against", other)

    def map_of_the_other() -> float:
        return run_json(capsys, *against)["against"]["map_voc07"]

    saved.write_text("[]")
    assert map_of_the_other() == 0
    trained = (other / "detector.safetensors").read_bytes()
    detector = Detector.load(other)
    detector.thresholds += 1
    detector.save(other / "detector.safetensors")
    assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), "of another detector"
    (other / "detector.safetensors").write_bytes(trained)
    assert map_of_the_other() == 0
    source = read_json(other / "test/source.json")
    for wrong in ({}, source | {"proposals": "mine.npz"}, source | {"data": "of other images"}):
        write_json(other / "test/source.json", wrong)
        assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), wrong
    run_json(capsys, "evaluate", other, *data, "--data.max_images", 3)
    assert map_of_the_other() == pytest.approx(theirs, abs=1e-12), "of other images"


def test_saved_detections_are_of_these_very_images_and_annotations(place, run, other, tmp_path, capsys):
    """Another set of the same ids and the same number of objects per class is another set."""
    root = tmp_path / "own"
    shutil.copytree(place / "shapes", root)
    own = ("--data.root", root)
    run_json(capsys, "evaluate", other, *own)
    (folder,) = other.glob("test-*")
    assert not (other / "test").exists(), "that is for the data of the training"

    def is_reused() -> bool:
        (folder / "detections.json").write_text("[]")
        numbers = run_json(capsys, "evaluate", run, *own, "--resamples", 0, "--against", other)
        return numbers["against"]["map_voc07"] == 0

    assert is_reused()
    assert run_json(capsys, "diagnose", other, *own)["mean"]["ap"]["as_is"] == 0
    name = (root / "ImageSets/Main/test.txt").read_text().split()[0]
    file = root / f"Annotations/{name}.xml"
    text = file.read_text()
    file.write_text(text.replace("<xmin>", "<xmin>1", 1))
    assert not is_reused()
    assert "not of these images" in run_error(capsys, "diagnose", other, *own)
    file.write_text(text)
    assert is_reused()
    image = root / f"JPEGImages/{name}.jpg"
    Image.open(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
    assert not is_reused()
    assert "not of these images" in run_error(capsys, "diagnose", other, *own)
