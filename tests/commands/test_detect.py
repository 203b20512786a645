"""`sppdet detect`: pictures, thresholds and probabilities, and what an unreadable image costs."""

import logging
import shutil
from pathlib import Path

import pytest
from factories import run_error, run_json, run_text, stopping
from PIL import Image

from sppdet.cli import main
from sppdet.commands.detect import _describe
from sppdet.commands.sources import image_files, picture_names
from sppdet.detector import Detector
from sppdet.drawing import detections as drawing
from sppdet.errors import DataError
from sppdet.files.atomic import read_json


@pytest.fixture
def detect(place, tmp_path, capsys):
    """The detections of the first test image, with these options."""

    def call(*options: object) -> list[dict]:
        image = place / "shapes/JPEGImages/000016.jpg"
        (entry,) = run_json(capsys, "detect", place / "spp", image, "--output", tmp_path, *options)
        return entry["detections"]

    return call


@pytest.fixture
def folder(place, tmp_path) -> Path:
    """A folder with one photograph, b.jpg."""
    (tmp_path / "photos").mkdir()
    shutil.copy(place / "shapes/JPEGImages/000016.jpg", tmp_path / "photos/b.jpg")
    return tmp_path / "photos"


def test_pictures_and_boxes(place, tmp_path, capsys):
    images = sorted((place / "shapes/JPEGImages").glob("00001*.jpg"))[:2]
    entries = run_json(capsys, "detect", place / "spp", *images, "--output", tmp_path)
    assert read_json(tmp_path / "detections.json") == entries
    assert [entry["image"] for entry in entries] == [str(image) for image in images]
    detector = Detector.load(place / "spp")
    thresholds = dict(zip(detector.classes, detector.thresholds.tolist(), strict=True))
    raw = run_json(capsys, "detect", place / "spp", *images, "--output", tmp_path / "raw", "--probabilities", "false")
    assert [entry["scores"] for entry in (*entries, *raw)] == ["probability"] * 2 + ["margin"] * 2
    for entry in raw:
        assert all(found["score"] >= thresholds[found["class"]] for found in entry["detections"])
    for entry in entries:
        with Image.open(entry["image"]) as image, Image.open(entry["picture"]) as picture:
            width, height = image.size
            factor = picture.size[0] // width
            assert picture.size == (factor * width, factor * height)
            assert min(picture.size) >= 320  # for legible labels
        for found in entry["detections"]:
            x1, y1, x2, y2 = found["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert 0 <= found["score"] <= 1


def test_the_threshold_overrides_those_of_the_classes(detect):
    def scores(threshold: str) -> list[float]:
        return [found["score"] for found in detect("--threshold", threshold)]

    everything = scores("0")
    assert len(everything) > 10
    middle = sorted(everything)[len(everything) // 2]
    assert scores(repr(middle)) == [score for score in everything if score >= middle]
    assert scores("1") == []


@pytest.mark.parametrize("threshold", ["50", "-0.1"])
def test_a_threshold_that_is_no_probability_is_refused(place, tmp_path, capsys, threshold):
    image = place / "shapes/JPEGImages/000016.jpg"
    output = tmp_path / "out"
    error = run_error(capsys, "detect", place / "spp", image, "--output", output, "--threshold", threshold)
    assert "threshold: no probability (expected 0 to 1 (50% is 0.5), got" in error
    assert not output.exists()


def test_probabilities_unless_margins_are_asked_for(detect):
    def boxes(found: list[dict]) -> list[tuple]:
        return sorted((row["class"], *row["box"]) for row in found)

    everything = detect("--threshold", "-100", "--probabilities", "false")
    probable = detect("--threshold", "0")
    assert probable == detect("--threshold", "0", "--probabilities", "true")
    assert boxes(everything) == boxes(probable)
    scores = sorted(row["score"] for row in probable)
    assert 0 < scores[0] < scores[-1] < 1
    middle = scores[len(scores) // 2]
    best = [row for row in probable if row["score"] >= middle]
    assert boxes(detect("--threshold", repr(middle))) == boxes(best)
    assert boxes(detect("--probabilities", "false")) == boxes(detect())  # the classes' own thresholds draw the same


def test_a_detector_without_calibration_gives_its_scores(place, tmp_path, capsys):
    detector = Detector.load(place / "spp")
    detector.calibration = None
    detector.save(tmp_path / "bare.safetensors")
    command = ("detect", tmp_path / "bare.safetensors", place / "shapes/JPEGImages/000016.jpg", "--output")
    (entry,) = run_json(capsys, *command, tmp_path / "out")
    assert entry["scores"] == "margin"
    assert "calibration" in run_error(capsys, *command, tmp_path / "other", "--probabilities", "true")


def test_a_folder_and_lines(place, folder, tmp_path, capsys):
    with Image.open(folder / "b.jpg") as image:
        image.save(folder / "b.png")
    (folder / "notes.txt").write_text("not an image")
    out = run_text(capsys, "detect", place / "spp", folder, "--output", tmp_path / "out", "--threshold", "1")
    lines = [f"{folder / name}: nothing" for name in ("b.jpg", "b.png")]
    assert out.splitlines() == [*lines, f"written to {tmp_path / 'out'}"]
    assert sorted(file.name for file in (tmp_path / "out").glob("[!.]*")) == ["b-2.jpg", "b.jpg", "detections.json"]


def test_an_unreadable_image_does_not_lose_the_others(place, folder, tmp_path, capsys):
    (folder / "a.jpg").write_text("not an image")
    (folder / "._b.jpg").write_text("left by a file system")
    out = tmp_path / "out"
    assert main(["detect", str(place / "spp"), "nowhere.jpg", str(folder), "--output", str(out)]) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [str(folder / "b.jpg"), f"written to {out}"]
    errors = [line for line in captured.err.splitlines() if line.startswith("sppdet: error: ")]
    assert [line.split(": ")[2] for line in errors] == ["nowhere.jpg", str(folder / "a.jpg")]
    (entry,) = read_json(out / "detections.json")
    assert (entry["image"], entry["picture"]) == (str(folder / "b.jpg"), str(out / "b.jpg"))
    assert (out / "b.jpg").is_file()


def test_ctrl_c_keeps_what_was_detected(place, tmp_path, capsys):
    photos = str(place / "shapes/JPEGImages")
    with stopping(Detector, "detect", after=1):
        assert main(["detect", str(place / "spp"), photos, "--output", str(tmp_path / "found")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sppdet: interrupted"
    (entry,) = read_json(tmp_path / "found/detections.json")
    assert Path(entry["picture"]).is_file()


def test_a_picture_that_was_not_written_is_not_listed(place, tmp_path):
    photos = str(place / "shapes/JPEGImages")
    with stopping(drawing, "write_picture", after=1):
        assert main(["detect", str(place / "spp"), photos, "--output", str(tmp_path / "found")]) == 130
    (entry,) = read_json(tmp_path / "found/detections.json")
    assert [str(file) for file in (tmp_path / "found").glob("*.jpg")] == [entry["picture"]]


def test_the_last_detections_replace_those_in_the_folder(place, folder, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, "sppdet")
    out = tmp_path / "out"
    shutil.copy(folder / "b.jpg", folder / "a.jpg")
    run_json(capsys, "detect", place / "spp", folder, "--output", out)
    assert "earlier detect" not in caplog.text
    (out / "own.jpg").write_text("a picture of the user's")
    (folder / "b.jpg").rename(folder / "c.jpg")
    entries = run_json(capsys, "detect", place / "spp", folder, "--output", out)
    assert f"replaced 2 pictures of an earlier detect in {out}" in caplog.messages
    assert read_json(out / "detections.json") == entries
    assert sorted(file.name for file in out.glob("[!.]*")) == ["a.jpg", "c.jpg", "detections.json", "own.jpg"]
    (folder / "c.jpg").write_text("not an image")
    assert main(["detect", str(place / "spp"), str(folder / "c.jpg"), "--output", str(out)]) == 1
    assert read_json(out / "detections.json") == entries  # nothing was detected
    (out / "detections.json").write_text("{}")
    run_json(capsys, "detect", place / "spp", folder / "a.jpg", "--output", out)
    assert sorted(file.name for file in out.glob("[!.]*")) == ["a.jpg", "detections.json", "own.jpg"]
    shutil.copy(folder / "a.jpg", folder / "own.jpg")
    error = run_error(capsys, "detect", place / "spp", folder / "own.jpg", "--output", out)
    assert f"{out / 'own.jpg'}: output: is a file of yours" in error
    assert (out / "own.jpg").read_text() == "a picture of the user's"


def test_photographs_in_the_output_folder_stay_as_they_are(place, folder, tmp_path, capsys):
    """Also by another name of the folder, and if their own pictures would have other names than they."""
    content = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").rename(folder / "b.png")
    (tmp_path / "link").symlink_to(folder)
    for output in (folder, tmp_path / "link"):
        error = run_error(capsys, "detect", place / "spp", folder / "b.png", "--output", output)
        assert "output: holds something else" in error
    assert [file.name for file in folder.iterdir()] == ["b.png"]
    assert (folder / "b.png").read_bytes() == content


def test_a_detector_that_cannot_be_read_claims_no_file(place, folder, tmp_path, capsys):
    output = tmp_path / "out"
    run_json(capsys, "detect", place / "spp", place / "shapes/JPEGImages/000016.jpg", "--output", output)
    (output / "detections.json").rename(tmp_path / "damaged.safetensors")
    run_error(capsys, "detect", tmp_path / "damaged.safetensors", folder, "--output", output)
    (output / "b.jpg").write_bytes(b"mine")
    assert "b.jpg: output: is a file of yours" in run_error(capsys, "detect", place / "spp", folder, "--output", output)
    assert (output / "b.jpg").read_bytes() == b"mine"


def test_images_in_subfolders_are_counted(folder, caplog):
    for name in ("deep/x.jpg", "deep/er/y.png", ".hidden/z.jpg", "deep/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with caplog.at_level(logging.WARNING, "sppdet"):
        assert image_files([str(folder)]) == [folder / "b.jpg"]
    assert image_files([str(folder)], recursive=True) == [
        folder / name for name in ("b.jpg", "deep/x.jpg", "deep/er/y.png")
    ]
    assert caplog.messages == [f"{folder}: 2 files in subfolders left out; --recursive takes them as well"]
    (folder / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"photos: no images in the folder .*got 2 files in subfolders"):
        image_files([str(folder)])


def test_no_score_is_a_negative_zero():
    assert _describe({"image": "a.jpg", "detections": [{"class": "RBC", "score": -0.001}]}) == "a.jpg: RBC 0.00"


def test_pictures_of_one_stem_are_numbered_and_none_overwrites_another():
    files = [Path(name) for name in ("a/x.jpg", "b/x.png", "y.jpg", "c/x.jpg")]
    assert picture_names(files) == ["x.jpg", "x-2.jpg", "y.jpg", "x-3.jpg"]
    names = picture_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("x-2.jpg")])
    assert len(set(names)) == 3
