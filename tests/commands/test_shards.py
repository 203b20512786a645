"""`--shard i/n`: the shards of every stage together are what one process makes, bit for bit."""

import shlex
import shutil
from pathlib import Path

import pytest
from factories import detector_bytes, run_error, run_json, run_text, train_arguments, watch

from sppdet.cli import main
from sppdet.detector import Detector
from sppdet.files.atomic import load_cached, read_json
from sppdet.files.durable import TEMPORARY
from sppdet.proposals import cache as proposals_cache
from sppdet.training.feature_cache import FeatureCache


def contents(cache: Path) -> dict[str, bytes]:
    """The entries of a cache by their place."""
    return {str(file.relative_to(cache)): file.read_bytes() for file in cache.rglob("*.safetensors")}


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    """An empty cache in place of that of the trained runs."""
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def computed(monkeypatch) -> list[list[tuple]]:
    """The searches, and the features that are computed."""
    return [watch(monkeypatch, proposals_cache, "_search_image"), watch(monkeypatch, FeatureCache, "_compute")]


@pytest.mark.slow
@pytest.mark.parametrize("features", ["spp", "crop"])
def test_a_detector_from_caches_filled_by_shards_is_that_of_one_process(
    place, tmp_path, fresh, computed, features, capsys
):
    arguments = [*train_arguments(place, tmp_path / "run"), "--features", features]
    for i in range(2):
        assert run_json(capsys, *arguments, "--shard", f"{i}/2") == {"shard": f"{i}/2", "images": 8 - i}
        assert not (tmp_path / "run").exists()
        assert [len(calls) for calls in computed] == [8 + 7 * i] * 2
    text = run_text(capsys, *arguments, "--shard", "0/1")
    assert text == "shard 0/1: proposals and features of 15 images are cached; nothing was trained\n"
    assert main(arguments) == 0
    assert [len(calls) for calls in computed] == [15, 15]
    assert detector_bytes(tmp_path / "run") == detector_bytes(place / features)
    alone = contents(place / "cache")
    assert contents(fresh).items() <= alone.items()


def test_proposals_of_shards_are_those_of_one_process(data, fresh, capsys, monkeypatch):
    options = ("proposals", *data, "--data.split", "test")
    for i in range(2):
        monkeypatch.setenv("RANK", str(i))
        monkeypatch.setenv("WORLD_SIZE", "2")
        found = run_json(capsys, *options)
        assert (found["shard"], found["images"], found["searched"]) == (f"{i}/2", 3, 3)
        assert len(contents(fresh)) == 3 * (i + 1)
    sharded = contents(fresh)
    whole = run_json(capsys, *options, "--shard", "0/1")
    assert (whole["images"], whole["searched"]) == (6, 0)
    monkeypatch.delenv("RANK")
    assert run_json(capsys, *options)["searched"] == 0
    shutil.rmtree(fresh)
    run_json(capsys, *options)
    assert contents(fresh) == sharded
    assert run_json(capsys, *options, "--shard", "9/12") == {
        "shard": "9/12",
        "images": 0,
        "searched": 0,
        "seconds_per_image": None,
    }


def test_training_does_not_take_a_launchers_variables_for_a_shard(place, run, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_json(capsys, *train_arguments(place, run))["folder"] == str(run)


def test_what_a_killed_shard_leaves_costs_its_unfinished_images_only(data, fresh, computed, capsys):
    options = ("proposals", *data, "--data.split", "test", "--shard", "1/2")
    run_json(capsys, *options)
    done = contents(fresh)
    first, second = (fresh / name for name in sorted(done)[:2])
    half = first.parent / f"{TEMPORARY}00000000-killed" / first.name
    half.parent.mkdir()
    half.write_bytes(first.read_bytes()[:99])
    first.unlink()
    second.write_bytes(second.read_bytes()[:99])  # of a machine that lost power
    computed[0].clear()
    assert run_json(capsys, *options)["searched"] == 1
    assert len(computed[0]) == 2
    assert {name: (fresh / name).read_bytes() for name in done} == done
    assert load_cached(half.parent.parent / half.name) is not None


def shards_of(options: tuple, folder: Path, count: int = 2) -> list[Path]:
    """Write the detections of all shards, in any order."""
    for i in reversed(range(count)):
        assert main([str(one) for one in (*options, "--shard", f"{i}/{count}", "--output", folder)]) == 0
    return sorted(folder.glob("*.json"))


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("probabilities", [False, True])
def test_detections_of_shards_are_evaluated_as_those_of_one_process(data, run, tmp_path, capsys, probabilities):
    flags = ["--probabilities"] if probabilities else []
    options = ("evaluate", run, *data, "--resamples", 0)
    numbers = run_json(capsys, *options, *flags)
    whole = {file.name: file.read_bytes() for file in (run / "test").rglob("*.*") if file.is_file()}
    shutil.rmtree(run / "test")
    first = run_json(capsys, "evaluate", run, *data, "--shard", "0/2")
    assert first == {"shard": "0/2", "images": 3, "file": str(run / "test-shards/shard-0-of-2.json")}
    assert not (run / "test").exists()
    text = run_text(capsys, "evaluate", run, *data, "--shard", "1/2")
    _, _, *following = shlex.split(text.splitlines()[-1].partition("there: ")[2])
    assert following == [str(run), *map(str, data[:2]), "--detections", str(run / "test-shards")]
    assert run_json(capsys, "evaluate", *following, "--resamples", 0, *flags) == numbers
    written = {file.name: file.read_bytes() for file in (run / "test").rglob("*.*") if file.is_file()}
    assert {name: data for name, data in written.items() if "owner" not in name} == {
        name: data for name, data in whole.items() if "owner" not in name
    }
    if not probabilities:  # without the run as well, from copies of the files
        for file in (run / "test-shards").glob("*.json"):
            shutil.copy(file, tmp_path)
        assert run_json(capsys, "evaluate", "--detections", tmp_path, *data, "--resamples", 0) == numbers


def test_a_shard_that_died_detects_only_the_images_it_did_not_finish(data, run, fresh, caplog):
    options = ("evaluate", run, *data)
    caplog.set_level("INFO")
    (file,) = shards_of(options, fresh / "shards", 1)
    assert caplog.text.count("shard 0/1: images") == 1
    before = file.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        calls = watch(patch, Detector, "encode", stop_after=0)
        assert shards_of(options, fresh / "shards", 1) == [file]
        assert calls == []
    entries = sorted((fresh / "detections").rglob("*.safetensors"))
    assert len(entries) == 6
    entries[2].unlink()
    with pytest.MonkeyPatch.context() as patch:
        calls = watch(patch, Detector, "encode")
        shards_of(options, fresh / "shards", 1)
        assert len(calls) == 1
    assert file.read_bytes() == before


def test_missing_double_and_foreign_images_of_shards_are_counted_and_named(data, run, other, tmp_path, capsys):
    options, folder = ("evaluate", run, *data), tmp_path / "shards"
    files = shards_of(options, folder, 3)
    merge = (*options, "--resamples", 0, "--detections", folder)
    ids = [str(id) for file in files for id in read_json(file)["images"]]
    lost = files[1].read_bytes()
    files[1].unlink()
    error = run_error(capsys, *merge)
    assert "shards do not hold each of 6 images once" in error
    assert f"2 images missing: {ids[2]}, {ids[3]}" in error
    files[1].write_bytes(lost)
    shutil.copy(files[1], folder / "shard-1-of-2.json")
    double = f"{ids[2]} (shard-1-of-2, shard-1-of-3), {ids[3]} (shard-1-of-2, shard-1-of-3)"
    assert f"2 images twice: {double}" in run_error(capsys, *merge)
    (folder / "shard-1-of-2.json").unlink()
    found = run_error(capsys, *merge, "--data.max_images", 4)
    assert "2 images of other data" in found
    assert "made by another detector or of other proposals" in run_error(capsys, "evaluate", other, *merge[2:])
    proposals = ("--proposals", tmp_path / "none.json")
    assert "made by another detector or of other proposals" in run_error(capsys, *merge, *proposals)
    whole = files[2].read_text()
    files[2].write_text(whole.replace('"precision": "fp32"', '"precision": "bf16"'))
    assert f"{files[2]}: made_by: made in another way than shard-0-of-3.json" in run_error(capsys, *merge)
    files[2].write_text(whole[:-9])
    assert f"{files[2]}: is not JSON" in run_error(capsys, *merge)
    files[2].write_text("{}")
    assert f"{files[2]}: is not a shard of detections" in run_error(capsys, *merge)


def test_a_shard_is_not_evaluated_and_its_folder_is_its_own(data, run, tmp_path, capsys):
    options = ("evaluate", run, *data, "--shard", "0/2")
    for name, value in {"svd": ["[2]"], "against": [run], "probabilities": [], "detections": [tmp_path]}.items():
        assert f"{name}: is for all images" in run_error(capsys, *options, f"--{name}", *value)
    assert "run: give a run or --detections" in run_error(capsys, "evaluate", *data, "--shard", "0/2")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "shard-0-of-2.json").write_text("mine")
    assert "holds something else" in run_error(capsys, *options, "--output", tmp_path / "mine")
    assert (tmp_path / "mine" / "shard-0-of-2.json").read_text() == "mine"


def test_pictures_and_boxes_of_shards_are_those_of_one_process(place, run, tmp_path, capsys, monkeypatch):
    photos = tmp_path / "photos"
    for name in ("16", "17", "18", "more/16"):
        file = photos / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / f"shapes/JPEGImages/0000{file.name}", file)
    options = ("detect", run, photos, "--recursive", "--output")
    whole = run_json(capsys, *options, tmp_path / "whole")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts = [run_json(capsys, *options, tmp_path / "parts")]
    parts += [run_json(capsys, *options, tmp_path / "parts", "--shard", f"{i}/3") for i in (1, 2)]
    assert [len(part) for part in parts] == [2, 1, 1]
    pictures = {}
    for i, part in enumerate(parts):
        folder = tmp_path / "parts" / f"shard-{i}-of-3"
        assert read_json(folder / "detections.json") == part
        for entry in part:
            pictures[entry["image"]] = Path(entry.pop("picture"))
            assert pictures[entry["image"]].parent == folder
    for entry in whole:
        picture, copy = Path(entry.pop("picture")), pictures[entry["image"]]
        assert (copy.name, copy.read_bytes()) == (picture.name, picture.read_bytes())
    assert sorted((entry for part in parts for entry in part), key=str) == sorted(whole, key=str)
    assert run_json(capsys, *options, tmp_path / "parts", "--shard", "8/9") == []
