"""Every command on a small generated set, from arguments to what is printed and written."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from sppdet import __version__, commands
from sppdet.backbones.zoo import build_backbone
from sppdet.cli import main
from sppdet.comparison import report
from sppdet.data.scenes import SHAPES
from sppdet.data.shapes import generate_shapes
from sppdet.data.voc import read_voc
from sppdet.detector import Detector
from sppdet.proposals.external import write_proposals
from sppdet.storage import save_tensors
from sppdet.training import stages

TINY = (
    *("--backbone.name", "shapenet", "--proposals.limit", "30", "--proposals.width", "null", "--spp.scales", "[120]"),
    *("--crop.size", "48", "--crop.context", "4", "--svm.C", "0.01", "--workers", "0"),
)
COCO_NAMES = {"AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"} | {
    f"AR_{name}" for name in ("1", "10", "100", "small", "medium", "large")
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the data set `shapes`, weights, runs `spp` and `crop`, and the cache that their training filled."""
    place = tmp_path_factory.mktemp("place")
    generate_shapes(place / "shapes", train=15, test=6)
    save_tensors(place / "weights.safetensors", build_backbone("shapenet", "random").state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPPDET_CACHE", str(place / "cache"))
        assert main(train_arguments(place, place / "spp")) == 0
        assert main([*train_arguments(place, place / "crop"), "--features", "crop"]) == 0
    return place


@pytest.fixture(autouse=True)
def cache(place, monkeypatch) -> None:
    """The cache that the trained runs filled, in place of an empty one."""
    monkeypatch.setenv("SPPDET_CACHE", str(place / "cache"))


def train_arguments(place: Path, output: Path) -> list[str]:
    weights = str(place / "weights.safetensors")
    return [
        *("train", "--data.root", str(place / "shapes"), *TINY),
        *("--backbone.weights", weights, "--output", str(output)),
    ]


@pytest.fixture
def run(place, tmp_path) -> Path:
    """A copy of the trained SPPnet run, to be changed."""
    return Path(shutil.copytree(place / "spp", tmp_path / "spp"))


def run_json(capsys, *arguments: object):
    """What a command prints, which has to be JSON and nothing else."""
    capsys.readouterr()
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def run_text(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def fail(*_arguments, **_options):
    raise AssertionError("must not be called")


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
    monkeypatch.setattr(stages, "mine_svms", fail)
    monkeypatch.setattr(stages, "fit_box_regression", fail)
    assert main(train_arguments(place, run)) == 0
    assert (run / "detector.safetensors").read_bytes() == (place / "spp/detector.safetensors").read_bytes()


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(place, tmp_path, monkeypatch, capsys):
    fitted = []

    def fit_then_stop(*arguments):
        if fitted:
            raise KeyboardInterrupt
        fitted.append(1)
        return fit(*arguments)

    fit = stages.mine_svms
    monkeypatch.setattr(stages, "mine_svms", fit_then_stop)
    assert main(train_arguments(place, tmp_path / "run")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sppdet: interrupted; the same command goes on from here"
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "config.json",
        "heads-train.safetensors",
        "mined.safetensors",
        "val.json",
    ]
    monkeypatch.setattr(stages, "mine_svms", fit)
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
    assert main([*train_arguments(place, tmp_path / "run"), "--data.images", "6"]) == 0


def test_evaluate_prints_and_writes_the_numbers(place, run, capsys):
    numbers = run_json(capsys, "evaluate", run, "--data.root", place / "shapes", "--split", "test", "--workers", 0)
    assert set(numbers) == {"map_voc07", "map_voc10", "coco", "per_class", "images"}
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


@pytest.mark.parametrize("form", ["detections.json", "comp4"])
def test_written_detections_give_the_numbers_of_their_run(place, run, form, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--split", "test")
    numbers = run_json(capsys, "evaluate", run, *data, "--workers", 0, "--output", tmp_path / "results")
    again = run_json(capsys, "evaluate", "--detections", tmp_path / "results" / form, *data)
    assert again == numbers


def test_what_truncation_costs_is_printed(place, tmp_path, capsys):
    run, layers = tmp_path / "deep", ("--layers.depth", "2", "--layers.width", "64", "--pyramid.levels", "[2,1]")
    assert main([*train_arguments(place, run), *layers]) == 0
    arguments = ("evaluate", run, "--data.root", place / "shapes", "--workers", 0, "--svd", "[2,2]")
    numbers = run_json(capsys, *arguments)
    assert set(numbers["svd"]) == {"ranks", "map_voc07", "map_voc10", "change_voc07"}
    assert numbers["svd"]["ranks"] == [2, 2]
    assert numbers["map_voc07"] > 0.02
    assert numbers["svd"]["map_voc07"] != numbers["map_voc07"]
    assert numbers["svd"]["change_voc07"] == numbers["svd"]["map_voc07"] - numbers["map_voc07"]
    assert json.loads((run / "test/evaluation.json").read_text()) == numbers
    text = run_text(capsys, *arguments)
    (line,) = [line for line in text.split("\n") if "SVD" in line]
    assert f"{100 * numbers['svd']['map_voc07']:.2f}%" in line
    assert f"{100 * numbers['svd']['change_voc07']:+.2f}" in line
    whole = run_json(capsys, *arguments[:-1], "[1000,1000]")
    assert whole["svd"]["change_voc07"] == 0
    assert whole["map_voc07"] == numbers["map_voc07"]


def test_evaluate_takes_the_proposals_of_another_program(place, tmp_path, capsys):
    """With only the objects themselves as proposals no detection can lie anywhere else."""
    test = read_voc(place / "shapes", "test")
    write_proposals(
        tmp_path / "objects.npz", [image.id for image in test.images], [image.boxes for image in test.images]
    )
    data = ("--data.root", place / "shapes", "--proposals", tmp_path / "objects.npz", "--output", tmp_path)
    numbers = run_json(capsys, "evaluate", place / "spp", *data)
    objects = sum(len(image.boxes) for image in test.images)
    assert 0 < len(json.loads((tmp_path / "detections.json").read_text())) <= objects * len(SHAPES)
    assert numbers["map_voc07"] > 0


def test_evaluate_prints_a_table(place, run, capsys):
    lines = run_text(capsys, "evaluate", run, "--data.root", place / "shapes", "--workers", 0, "--images", 3).split(
        "\n"
    )
    assert [line.split()[0] for line in lines[:7]] == [*SHAPES, "mAP"]
    assert "3 images" in lines[7]


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
    image = place / "shapes/JPEGImages/000016.jpg"

    def scores(threshold: str) -> list[float]:
        (entry,) = run_json(capsys, "detect", place / "spp", image, "--output", tmp_path, "--threshold", threshold)
        return [found["score"] for found in entry["detections"]]

    everything = scores("-100")
    assert len(everything) > 10
    middle = sorted(everything)[len(everything) // 2]
    assert scores(repr(middle)) == [score for score in everything if score >= middle]
    assert scores("100") == []


def test_detect_takes_a_folder_and_prints_lines(place, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(place / "shapes/JPEGImages/000016.jpg", folder / "a.jpg")
    with Image.open(folder / "a.jpg") as image:
        image.save(folder / "a.png")
    (folder / "notes.txt").write_text("not an image")
    out = run_text(capsys, "detect", place / "spp", folder, "--output", tmp_path / "out", "--threshold", "100")
    assert out.splitlines() == [
        f"{folder / 'a.jpg'}: nothing",
        f"{folder / 'a.png'}: nothing",
        f"written to {tmp_path / 'out'}",
    ]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a-2.jpg", "a.jpg", "detections.json"]


def test_an_unreadable_image_does_not_lose_the_others(place, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(place / "shapes/JPEGImages/000016.jpg", folder / "b.jpg")
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
    entries = json.loads((tmp_path / "out/detections.json").read_text())
    assert [(entry["image"], entry["picture"]) for entry in entries] == [
        (str(folder / "b.jpg"), str(tmp_path / "out/b.jpg"))
    ]
    assert (tmp_path / "out/b.jpg").is_file()


def test_no_score_is_a_negative_zero(monkeypatch, capsys):
    found = [{"image": "a.jpg", "detections": [{"class": "RBC", "score": -0.001}]}]
    monkeypatch.setattr(commands, "detect_files", lambda *_: (found, []))
    assert run_text(capsys, "detect", "run", "a.jpg").startswith("a.jpg: RBC 0.00\n")


def test_proposals_are_searched_once(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path))
    command = ["proposals", "--data.root", place / "shapes", "--split", "test", "--images", 2, "--workers", 0]
    command += ["--proposals.width", "null"]
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
    data = ("--data.root", place / "shapes", "--images", 1, "--regions", 20, "--growth", "[10,20]")
    result = run_json(capsys, "compare", place / "spp", place / "crop", *data, "--output", tmp_path)
    assert (result["images"], result["regions"]) == (1, 20)
    assert set(result["stages"]) == {"spp", "crop"}
    for stages_of_one in result["stages"].values():
        assert set(stages_of_one) == {"proposals", "prepare", "conv", "pooling", "heads", "nms"}
        assert all(seconds >= 0 for seconds in stages_of_one.values())
    assert set(result["speedup"]) == {"conv", "without_proposals", "total"}
    conv = [result["stages"][name]["conv"] for name in ("crop", "spp")]
    assert math.isclose(result["speedup"]["conv"], conv[0] / conv[1])
    assert json.loads((tmp_path / "compare.json").read_text()) == result
    assert (tmp_path / "stages.png").is_file()
    assert (tmp_path / "growth.png").is_file()


def test_comparisons_have_folders_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr(commands, "compare", lambda *given: given[4])
    monkeypatch.setattr(report, "format_table", str)
    outputs = [run_text(capsys, "compare", *runs).split()[0] for runs in (["a"], ["x/a", "b"])]
    assert outputs == ["runs/compare-a", "runs/compare-a-b"]


def test_help_says_from_how_many_images_on_there_is_an_map(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert f"mAP from {report.MAP_IMAGES} images on" in " ".join(capsys.readouterr().out.split())


def test_compare_one_run_prints_a_table(place, tmp_path, capsys):
    data = ("--data.root", place / "shapes", "--images", 1, "--regions", 10, "--growth", "[]")
    out = run_text(capsys, "compare", place / "spp", *data, "--output", tmp_path)
    assert "spp-crop" in out
    assert out.endswith(f"written to {tmp_path}\n")


def test_help_and_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert all(
        name in out for name in ("demo", "train", "evaluate", "detect", "compare", "proposals", "download", "convert")
    )
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == out
    assert main(["nonsense"]) == 2
    assert main(["detect", "run"]) == 2


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
    monkeypatch.setattr(stages, "train", lambda config: taken.append(config) or SimpleNamespace(classes=()))
    options = ["--features", "crop", "--svm.C", "0.01"]
    assert main(["train", *options[:place_of_config], *config, *options[place_of_config:]]) == 0
    assert (taken[0].features, taken[0].svm.C, taken[0].spp.scales) == ("crop", 0.01, (480,))


def test_a_warning_is_printed_once(tmp_path, capsys):
    assert main(["download", str(tmp_path), "--years", "1999"]) == 1  # sets the log up
    capsys.readouterr()
    for text in ("one", "two", "one"):
        logging.getLogger("sppdet").warning("%s: box %s skipped", tmp_path, text)
        logging.getLogger("sppdet").info("%s", text)
    assert [line.split()[-2:] for line in capsys.readouterr().err.splitlines()] == [
        *(["one", "skipped"], ["one"], ["two", "skipped"], ["two"], ["one"])
    ]
