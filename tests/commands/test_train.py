"""`sppdet train`: what it prints and writes, and how it resumes."""

import pytest
from factories import detector_bytes, run_error, run_text, stopping, train_arguments, watch

from sppdet.cli import main
from sppdet.detector import Detector
from sppdet.files.atomic import read_json
from sppdet.files.durable import own_prefix
from sppdet.shapes.scene import SHAPES
from sppdet.training import fit_heads as fitting, train as stages


def test_training_says_where_it_stands(place, tmp_path, capsys):
    out = run_text(capsys, *train_arguments(place, tmp_path / "new"))
    assert out == f"detector of 6 classes in {tmp_path / 'new'}\n"
    assert Detector.load(tmp_path / "new").classes == SHAPES
    # The same arguments and a warm cache give the same detector.
    assert detector_bytes(tmp_path / "new") == detector_bytes(place / "spp")


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_a_run_holds_its_detector_configuration_and_held_out_figures(place, features):
    assert Detector.load(place / features).config.features == features
    assert read_json(place / features / "config.json")["features"] == features
    held_out = read_json(place / features / "val.json")
    assert held_out["images"] == 3
    assert 0 <= held_out["map_voc07"] <= 1


def test_a_finished_run_is_left_alone(place, run, monkeypatch, capsys):
    monkeypatch.setattr(stages, "propose", None)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.glob("[!.]*")}
    assert main(train_arguments(place, run)) == 0
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.glob("[!.]*")} == before
    assert "is trained already; to train again, remove it or give another --output" in capsys.readouterr().err


def test_what_a_kill_after_the_detector_left_is_removed(place, run):
    leftover = run / f"{own_prefix()}abc"
    for folder in (leftover, run / "features"):
        folder.mkdir()
        (folder / "detector.safetensors").touch()
    assert main(train_arguments(place, run)) == 0
    assert not leftover.exists()
    assert not (run / "features").exists()


def test_what_a_run_links_to_is_not_removed(place, run, tmp_path):
    """A run from elsewhere might lead to any folder."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.jpg").touch()
    (run / "features").symlink_to(tmp_path / "photos")
    assert main(train_arguments(place, run)) == 0
    assert (tmp_path / "photos/mine.jpg").exists()


def test_an_interrupted_run_goes_on_from_its_heads_and_says_so_on_stderr(place, run, monkeypatch, capsys):
    (run / "detector.safetensors").unlink()
    fitted = [watch(monkeypatch, fitting, name) for name in ("mine_svms", "fit_box_regression")]
    assert main(train_arguments(place, run)) == 0
    assert fitted == [[], []]
    assert detector_bytes(run) == detector_bytes(place / "spp")
    captured = capsys.readouterr()
    assert "15 images, 6 classes; 3 held out" in captured.err
    assert "held out: the images of val\n" in captured.err
    assert "held-out images" in captured.err
    assert captured.out.count("\n") == 1


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(place, tmp_path, capsys):
    run = tmp_path / "run"
    with stopping(fitting, "mine_svms", after=1):
        assert main(train_arguments(place, run)) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sppdet: interrupted; repeat the command to resume"
    assert sorted(file.name for file in run.glob("[!.]*")) == [
        *("config.json", "data.json", "examples.jpg", "heads-train.png", "heads-train.safetensors", "images.json"),
        *("labels.png", "metrics.jsonl", "mined.safetensors", "results.csv", "val.jpg", "val.json"),
    ]
    assert main(train_arguments(place, run)) == 0
    assert detector_bytes(run) == detector_bytes(place / "spp")


def test_another_configuration_in_the_same_output_is_an_error(place, run, capsys):
    assert main([*train_arguments(place, run), "--svm.C", "0.5", "--spp.scales", "[100]"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sppdet: error: {run}: output: holds a run of another configuration")
    assert line.endswith("(expected spp.scales=[120], svm.C=0.01, got spp.scales=[100], svm.C=0.5)")
    # How it is carried out may change.
    assert main([*train_arguments(place, run), "--workers", "1", "--cache_gb", "1"]) == 0


def test_a_first_attempt_that_failed_does_not_bind_its_folder(place, tmp_path):
    wrong = [*train_arguments(place, tmp_path / "run"), "--data.root", "nowhere"]
    assert main(wrong) == 1
    assert main([*train_arguments(place, tmp_path / "run"), "--data.max_images", "6"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads-train", "mined", "heads-all"])
def test_a_damaged_or_exchanged_file_of_a_run_is_named_and_made_again_once_it_is_removed(place, run, capsys, name):
    arguments = train_arguments(place, run)
    detector, file = detector_bytes(run), run / f"{name}.safetensors"
    (run / "detector.safetensors").unlink()
    content = file.read_bytes()
    if name == "mined":  # it is read for the final fit
        (run / "heads-all.safetensors").unlink()
    other = run / ("heads-all.safetensors" if name == "heads-train" else "heads-train.safetensors")
    for damage in (content[:-2] + bytes([content[-2] ^ 1]) + content[-1:], content[:99], other.read_bytes()):
        file.write_bytes(damage)
        said = run_error(capsys, *arguments)
        assert f"{file}: is" in said
        assert "remove the file" in said
    file.unlink()
    assert main(arguments) == 0
    assert detector_bytes(run) == detector
    assert file.read_bytes() == content
