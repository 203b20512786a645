"""`sppdet classify` on objects of a small generated set, from crops to what is printed, and detection from there."""

import csv
import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from factories import run_error, run_json, run_text, watch

from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.classification.classifier import Classifier
from sppdet.cli import main
from sppdet.config.network import BackboneConfig, FCConfig, NetworkConfig
from sppdet.data.formats.voc import read_voc
from sppdet.detector import Detector
from sppdet.shapes.dataset import generate_shapes
from sppdet.shapes.scene import SHAPES

TINY = (
    *("--backbone.name", "shapenet", "--backbone.weights", "random", "--pyramid.levels", "[2,1]", "--view", "warp"),
    *("--sizes", "[32,40]", "--fc.depth", "1", "--fc.width", "24", "--fit.epochs", "3", "--fit.batch_size", "8"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a data set, its objects as crops, and two classifiers of these."""
    place = tmp_path_factory.mktemp("place")
    generate_shapes(place / "shapes", train=12, test=6)
    for split in ("trainval", "test"):
        data = ("--data.root", str(place / "shapes"), "--data.split", split)
        assert main(["classify", "crops", *data, "--output", str(place / "crops")]) == 0
    for seed in ("0", "1"):
        assert main(train(place, place / seed, "--seed", seed)) == 0
    return place


def train(place: Path, output: Path, *rest: str) -> list[str]:
    crops = ("--data.train", f"{place}/crops/trainval", "--data.val", f"{place}/crops/test")
    return ["classify", "train", *crops, *TINY, "--output", str(output), *rest]


def test_crops_keep_their_split_and_training_says_where_it_stands(place, capsys):
    assert run_text(capsys, *train(place, place / "0")) == f"classifier of 6 classes in {place / '0'}\n"
    assert Classifier.load(place / "0").classes == tuple(sorted(SHAPES))
    assert 0 <= json.loads((place / "0/val.json").read_text())["top1"]["mean"] <= 1
    for split in ("trainval", "test"):
        images = read_voc(place / "shapes", split).images
        names = {path.stem for path in (place / "crops" / split).rglob("*.png")}
        assert {name.rsplit("_")[0] for name in names} == {image.id for image in images}
        assert len(names) == sum(int((~image.difficult).sum()) for image in images)


def test_a_file_of_parameters_is_read_and_options_win(place, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("sizes: [32]\nfit: {epochs: 1, batch_size: 4}\nview: crop\n")
    options = train(place, tmp_path / "run", "--config", str(tmp_path / "c.yaml"))
    del options[options.index("--fit.batch_size") : options.index("--fit.batch_size") + 2]
    run_text(capsys, *options)
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["fit"]["batch_size"] == 4
    assert (config["fit"]["epochs"], config["sizes"], config["view"]) == (3, [32, 40], "warp")


def test_images_that_were_trained_on_are_counted(place, capsys, caplog):
    for split in ("test", "trainval"):
        result = run_json(
            capsys, "classify", "evaluate", place / "0", "--data", place / "crops" / split, "--resamples", 0
        )
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]  # not its progress
    assert warnings == [f"{place / '0'}: {result['images']} of these {result['images']} images were trained on"]


def test_evaluate_prints_accuracies_with_intervals(place, capsys):
    data = ("--data", place / "crops/test")
    result = run_json(capsys, "classify", "evaluate", place / "0", *data, "--resamples", "50")
    assert result == run_json(capsys, "classify", "evaluate", place / "0", "--resamples", "50")  # its own data.val
    low, high = result["top1"]["interval"]
    assert 0 <= low <= result["top1"]["mean"] <= high <= 1
    assert result["top1"]["mean"] <= result["top5"]["mean"]
    total = sum(each["images"] for each in result["per_class"].values())
    assert total == result["images"] == len(list((place / "crops/test").rglob("*.png")))
    weighted = sum(each["images"] * each["top1"] for each in result["per_class"].values()) / total
    assert weighted == pytest.approx(result["top1"]["mean"])

    text = run_text(capsys, "classify", "evaluate", place / "0", *data, "--resamples", "50").splitlines()
    assert [line.split()[0] for line in text] == [*result["per_class"], "top1", "top5"]
    assert f"{100 * result['top1']['mean']:.2f}%" in text[-2]
    assert "95% of 50 resamples" in text[-2]


def test_unreadable_images_are_left_out_of_an_evaluation(place, tmp_path, capsys):
    shutil.copytree(place / "crops/test", tmp_path / "test")
    damaged = sorted((tmp_path / "test").glob("*/*"))[0]
    damaged.write_bytes(b"text")
    command = ("classify", "evaluate", place / "0", "--data", tmp_path / "test", "--resamples", "0")
    whole = run_json(capsys, *command[:4], place / "crops/test", *command[5:])
    text = run_error(capsys, *command)
    assert f"1 of {whole['images']} images cannot be read (expected readable ones; --skip_unreadable leaves" in text
    assert run_json(capsys, *command, "--skip_unreadable")["images"] == whole["images"] - 1


def test_seeds_are_averaged_and_compared_in_pairs(place, capsys):
    data = ("--data", place / "crops/test", "--resamples", "20")
    command = ("classify", "evaluate", place / "0", place / "1", *data)
    result = run_json(capsys, *command, "--against", f"[{place / '1'}]", "--views.sizes", "[36]")
    first, second = result["runs"].values()
    assert result["top1"]["mean"] == pytest.approx((first + second) / 2)
    assert result["against"]["runs"] == {str(place / "1"): second}
    assert result["difference"]["top1"]["mean"] == pytest.approx((first - second) / 2)
    assert result["views"]["sizes"] == [36]
    text = run_text(capsys, *command, "--against", f"[{place / '1'}]", "--views.sizes", "[36]")
    assert [line.split()[0] for line in text.splitlines()[-6:]] == ["top5", "top1", *["top1,"] * 2, *["top5,"] * 2]
    same = run_json(capsys, *command, "--against", f"[{place / '0'},{place / '1'}]")
    assert same["difference"]["top1"]["mean"] == 0
    assert same["difference"]["top1"]["interval"] == [0, 0]


def test_classifiers_of_one_network_share_its_passes(place, capsys, monkeypatch):
    data = ("--data", place / "crops/test", "--resamples", "0")
    alone = [run_json(capsys, "classify", "evaluate", place / seed, *data)["top1"]["mean"] for seed in "01"]
    passes = watch(monkeypatch, Classifier, "maps")
    both = run_json(capsys, "classify", "evaluate", place / "0", place / "1", *data)
    assert list(both["runs"].values()) == alone
    assert len(passes) == both["images"]
    other = run_text(capsys, *train(place, place / "other", "--blocks", "1", "--fit.epochs", "1"))
    assert other.startswith("classifier")
    passes.clear()
    run_json(capsys, "classify", "evaluate", place / "0", place / "other", *data)
    assert len(passes) == 2 * both["images"]


def test_classifiers_of_other_classes_are_not_compared(place, capsys, tmp_path):
    shutil.copytree(place / "crops/trainval", tmp_path / "crops")
    (tmp_path / "crops" / SHAPES[0]).rename(tmp_path / "crops/wheel")
    run_text(capsys, *train(place, tmp_path / "run", "--data.train", str(tmp_path / "crops"), "--data.val", "null"))
    data = ("--data", f"{place}/crops/test")
    assert main(["classify", "evaluate", f"{place}/0", "--against", f"[{tmp_path}/run]", *data]) == 1
    assert "knows other classes than the first run" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["full", "crop", "10views", "96views"])
def test_images_are_seen_as_asked_for(place, capsys, kind):
    views = ("--views.kind", kind, "--resamples", "0")
    result = run_json(capsys, "classify", "evaluate", place / "0", "--data", place / "crops/test", *views)
    assert result["views"]["kind"] == kind
    assert set(result["top1"]) == {"mean"}


def test_predict_prints_or_writes_the_most_probable_classes(place, tmp_path, capsys):
    folder = place / "crops/test/disc"
    command = ("classify", "predict", place / "0", folder, "--top", "2")
    entries = run_json(capsys, *command)
    assert [entry["image"] for entry in entries] == sorted(map(str, folder.iterdir()))
    for entry in entries:
        first, second = (found["probability"] for found in entry["classes"])
        assert 1 >= first >= second >= 0
    out = run_text(capsys, *command, "--output", tmp_path / "out.json")
    assert out == f"{len(entries)} images in {tmp_path / 'out.json'}\n"
    assert json.loads((tmp_path / "out.json").read_text()) == entries
    run_text(capsys, *command, "--output", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [found["class"] for entry in entries for found in entry["classes"]]
    assert [float(row["probability"]) for row in rows[:2]] == [f["probability"] for f in entries[0]["classes"]]
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "1"]
    line = run_text(capsys, "classify", "predict", place / "0", folder).splitlines()[0]
    best = entries[0]["classes"][0]
    assert line == f"{entries[0]['image']}: {best['class']} {best['probability']:.2f}"


def test_an_unreadable_image_does_not_lose_the_others(place, tmp_path, capsys):
    shutil.copytree(place / "crops/test/disc", tmp_path / "images")
    for name in ("a.png", "z.png"):
        (tmp_path / "images" / name).write_bytes(b"text")
    command = ["classify", "predict", str(place / "0"), str(tmp_path / "images"), "--output", str(tmp_path / "o.csv")]
    assert main(command) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sppdet: error: ")]
    assert [name in line for name, line in zip(("a.png", "z.png"), errors, strict=True)] == [True, True]
    with (tmp_path / "o.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(list((place / "crops/test/disc").iterdir()))


def test_detection_starts_from_a_classifier(place, tmp_path, capsys):
    weights = place / "0/classifier.safetensors"
    options = ("--backbone.name", "shapenet", "--backbone.weights", str(weights), "--proposals.limit", "20")
    layers = ("--fc.depth", "1", "--fc.width", "24", "--pyramid.levels", "[2,1]")
    small = ("--proposals.width", "null", "--spp.scales", "[100]", "--box_regression.enabled", "false")
    data = ("--data.root", place / "shapes", "--workers", "0")
    run_text(capsys, "train", *data, *options, *layers, *small, "--output", tmp_path / "spp")
    detector, classifier = Detector.load(tmp_path / "spp"), Classifier.load(weights)
    for name, value in classifier.backbone.state_dict().items():
        assert torch.equal(detector.backbone.state_dict()[name], value)
    assert torch.equal(detector.layers[0][0].weight, classifier.head.layers[0][0].weight)


def test_fully_connected_layers_are_a_classifiers_where_it_has_them(place):
    classifier = Classifier.load(place / "0")
    weights = BackboneConfig("shapenet", str(place / "0/classifier.safetensors"))
    pyramid = classifier.config.pyramid
    one = build_fully_connected(NetworkConfig(weights, pyramid, FCConfig(1)), classifier.backbone)
    pooled = torch.rand(3, classifier.pyramids.dimension)
    assert torch.equal(one(pooled), classifier.head.features(pooled))
    two = build_fully_connected(NetworkConfig(weights, pyramid, FCConfig(2, 7)), classifier.backbone)
    assert [layer[0].out_features for layer in two] == [7, 7]  # it has one: random ones
