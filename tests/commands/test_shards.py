"""`--shard i/n`: the shards of every stage together are what one process makes, bit for bit."""

import shutil
from pathlib import Path

import pytest
from factories import detector_bytes, run_json, run_text, train_arguments, watch

from sppdet.cli import main
from sppdet.files.atomic import load_cached
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
