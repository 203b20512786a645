"""What is an entry of the caches, and which are removed."""

import os
import time
from pathlib import Path

import pytest
import torch
from factories import run_error, run_json, run_text

from sppdet.files import atomic
from sppdet.files.atomic import load_cached, save_cached
from sppdet.files.cache import DAY, find_entries, prune
from sppdet.files.durable import TEMPORARY

SETTINGS = {"proposals": "fast, width 500", "features": "shapenet fp32, scales [120]"}


def entry_of(cache: Path, kind: str, key: str, days: float, made_by: str = "") -> Path:
    """An entry of 1,000 bytes and its header, last used `days` days ago."""
    file = cache / kind / key[:2] / f"{key}.safetensors"
    save_cached(file, {"a": torch.zeros(1000, dtype=torch.uint8)}, made_by)
    unused(file, days)
    return file


def unused(file: Path, days: float) -> None:
    os.utime(file, (time.time() - days * DAY,) * 2)


@pytest.fixture
def entries(cache) -> list[Path]:
    """Six entries, of which the later ones were used longer ago."""
    kinds = ["proposals", "features", "features", "detections", "proposals", "features"]
    return [entry_of(cache, kind, f"{i}a" * 16, i + 0.5, SETTINGS.get(kind, "")) for i, kind in enumerate(kinds)]


@pytest.fixture
def others(cache, tmp_path) -> list[Path]:
    """Files and links in the cache that are no entries, all old."""
    key = "0a" * 16
    target = tmp_path / "mine.safetensors"
    target.write_text("mine")
    files = [cache / name for name in ("notes.txt", "proposals/notes.txt", "features/0a/notes.safetensors")]
    files += [cache / "features" / "0b" / f"{key}.safetensors", cache / "models" / "0a" / f"{key}.safetensors"]
    files.append(cache / "features" / "0a" / f"{key}.json")
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
        unused(file, 99)
    links = [cache / "detections" / "1a" / f"{'1a' * 16}.safetensors", cache / "proposals" / "ff"]
    links[0].parent.mkdir(parents=True)
    links[1].parent.mkdir(exist_ok=True)
    links[0].symlink_to(target)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{'ff' * 16}.safetensors").write_text("mine")
    links[1].symlink_to(tmp_path / "elsewhere")
    return [*files, target, links[1] / f"{'ff' * 16}.safetensors"]


def test_entries_are_pruned_by_age_and_nothing_else_is(entries, others):
    assert sorted(entry.path for entry in find_entries()) == sorted(entries)
    assert [entry.path for entry in prune(older_days=3)] == entries[3:]
    assert [file.is_file() for file in entries] == 3 * [True] + 3 * [False]
    prune(older_days=0, keep_bytes=0)
    assert not any(file.is_file() for file in entries)
    assert all(file.read_text() == "mine" for file in others)


def test_entries_used_longest_ago_are_removed_until_the_rest_fits(entries):
    size = entries[0].stat().st_size
    assert [entry.path for entry in prune(keep_bytes=3.5 * size)] == entries[3:]
    assert prune(keep_bytes=3.5 * size) == []


def test_using_an_entry_makes_it_young_and_listing_it_does_not(entries, monkeypatch):
    assert [entry.made_by() for entry in find_entries() if entry.path == entries[5]] == [SETTINGS["features"]]
    assert load_cached(entries[5]) is not None
    monkeypatch.setattr(atomic, "_digest", None)
    assert load_cached(entries[5]) is not None  # it is not verified again
    assert [entry.path for entry in prune(older_days=3)] == entries[3:5]


def test_what_a_killed_process_of_any_machine_left_is_removed_after_days(entries):
    folder = entries[0].parent
    left = [folder / f"{TEMPORARY}00000000-{name}" for name in ("old", "new")]
    for each in left:
        each.mkdir()
        (each / entries[0].name).write_bytes(b"half")
    unused(left[0], 9)
    assert len(list(find_entries())) == len(entries)
    assert load_cached(entries[0]) is not None
    prune(keep_bytes=1e9)
    assert [each.exists() for each in left] == [False, True]


def test_the_command_shows_each_configuration_and_removes_only_if_told(cache, entries, capsys):
    size = sum(file.stat().st_size for file in (entries[1], entries[2], entries[5]))
    shown = run_json(capsys, "cache")
    rows = {row["kind"]: row for row in shown["entries"]}
    assert (shown["folder"], shown["removed"], set(rows)) == (str(cache), 0, {"proposals", "features", "detections"})
    assert {key: rows["features"][key] for key in ("made_by", "images", "bytes")} == {
        "made_by": SETTINGS["features"],
        "images": 3,
        "bytes": size,
    }
    assert rows["features"]["days_unused"] == pytest.approx(1.5, abs=0.01)
    lines = run_text(capsys, "cache", "--prune_older", 2).splitlines()
    assert lines[0] == "removed 4 entries, 0.00 GB"
    assert lines[1].split() == ["images", "GB", "days", "unused"]
    assert lines[2].startswith("features: shapenet fp32, scales [120]")
    assert lines[-1] == f"0.00 GB in {cache}"
    assert run_json(capsys, "cache", "--keep_gb", 0)["removed"] == 2
    assert run_json(capsys, "cache")["entries"] == []
    assert "keep_gb: out of range" in run_error(capsys, "cache", "--keep_gb", -1)
