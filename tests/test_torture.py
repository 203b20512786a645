"""The short form of `python scripts/torture.py`: some inputs of each reader, some kills, faults and processes."""

import os
import signal
import time
import warnings
from multiprocessing import get_context

import pytest
from torture import disturbances, pictures, trainings, worker
from torture.pictures import check_read
from torture.tally import Tally, format_table
from torture.target import Case, Target, judge, make_input
from torture.worker import fuzz_here, targets_of

from sppdet.errors import DataError

COUNTS = {"images": 15, "annotations": 5, "proposals": 30, "models": 8, "archives": 12, "configurations": 10}


@pytest.mark.parametrize("part", COUNTS)
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_lost_of_damaged_files(part, tmp_path):
    tallies = fuzz_here(targets_of(part), range(COUNTS[part]), 1, tmp_path / "lost")
    texts = [file.read_text() for file in tmp_path.glob("lost/*.txt")]
    assert not any(tally.lost for tally in tallies), texts
    assert sum(tally.counts["refused"] for tally in tallies)
    assert sum(tally.counts["accepted"] for tally in tallies)


@pytest.mark.parametrize("suffix", pictures.SUFFIXES)
def test_pictures_are_read_before_they_are_damaged(suffix, tmp_path):
    for data in pictures.write_seeds(suffix):
        (tmp_path / f"a{suffix}").write_bytes(data)
        check_read(tmp_path / f"a{suffix}")


def test_kills_full_disks_and_processes_at_once_change_nothing(tmp_path):
    each = list(trainings.undisturbed(tmp_path, ["svm"]))
    for part, count in (("kills", 2), ("writes", 1), ("processes", 2)):
        tallies = disturbances.PARTS[part](each, count, 1, time.time() + 600, tmp_path / "lost")
        assert all(tally.tried for tally in tallies)
        assert not any(tally.lost for tally in tallies), [file.read_text() for file in tmp_path.glob("lost/*.txt")]


def test_losses_are_found(monkeypatch):
    def read(data: bytes) -> None:
        if data == b"refused":
            raise DataError("no")
        if data == b"exception":
            raise KeyError(data)
        if data == b"lines":
            raise DataError("two\nlines")
        if data == b"slow":
            monkeypatch.setattr("torture.target.MOST_SECONDS", -1)
        assert data != b"wrong"

    case = Case(lambda rng: rng.randbytes(8), read)
    expected = {"refused": "refused", "exception": "exception", "lines": "exception", "wrong": "wrong"}
    for data, kind in (*expected.items(), ("other", "accepted"), ("slow", "over limit")):
        assert judge(case, data.encode())[0] == kind
    assert make_input(case, "a", 0, 1) == make_input(case, "a", 0, 1) != make_input(case, "a", 0, 2)


def test_the_table_counts_what_is_lost():
    one, two = Tally("one"), Tally("two")
    for outcome in ("refused", "death", "accepted", "wrong"):
        one.add(outcome)
    lines = format_table({"part": [one, two]}).splitlines()
    assert lines[1].split() == ["one", "4", "1", "1", "0", "1", "0", "1", "2"]
    assert lines[3].split() == ["part,", "all", "4", "1", "1", "0", "1", "0", "1", "2"]


def test_a_run_that_comes_out_differently_is_told(tmp_path):
    (tmp_path / "a.json").write_text("1")
    files = trainings.files_of(tmp_path)
    assert trainings.compare(tmp_path, files) == ""
    (tmp_path / "a.json").write_text("2")
    os.mkdir(tmp_path / ".sppdet")
    (tmp_path / ".sppdet/lock").touch()
    assert trainings.compare(tmp_path, files) == "other a.json"


def test_an_input_that_ends_its_process_is_a_loss_and_the_others_are_read(tmp_path, monkeypatch):
    """The process is forked, which imports nothing again."""
    signals = {b"1": signal.SIGKILL, b"3": signal.SIGPROF}  # as after 20 seconds of the processor

    def prepare(_folder) -> Case:
        return Case(lambda _rng: b"", lambda data: data in signals and os.kill(os.getpid(), signals[data]))

    monkeypatch.setattr(worker, "targets_of", lambda _part: [Target("a", prepare)])
    monkeypatch.setattr(worker, "make_input", lambda _case, _target, _seed, number: b"%d" % number)
    monkeypatch.setattr(worker.multiprocessing, "get_context", lambda _kind: get_context("fork"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        (tally,) = worker.fuzz("images", 6, 0, time.time() + 600, tmp_path)
    assert (tally.counts["accepted"], tally.counts["death"], tally.counts["over limit"]) == (4, 1, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-0-1", "a-0-1.txt", "a-0-3", "a-0-3.txt"]
