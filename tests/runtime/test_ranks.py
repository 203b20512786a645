"""Ranks as torchrun starts them, spawned here: what they exchange, and how they end together."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rank_works import ends_amid_beats, exchanges, fails, is_killed, nothing, start, takes_long
from torch.distributed import TCPStore

from sppdet.runtime import ranks


def launch(tmp_path: Path, *works: Callable[[], None] | None, command: str = "train") -> tuple[list[int], str]:
    """Run a function on each rank (None: it dies first), and return the exit codes and what they wrote to stderr."""
    log, store = tmp_path / "stderr", TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    log.touch()
    context = multiprocessing.get_context("spawn")
    several = [
        context.Process(target=start, args=(i, len(works), store.port, log, command, work))
        for i, work in enumerate(works)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")  # commands set it before they load torch
        for each in several:
            each.start()
    until = time.monotonic() + 60
    for each in several:
        each.join(max(0.1, until - time.monotonic()))
    hung = [each for each in several if each.is_alive()]
    for each in hung:
        each.kill()
    assert not hung
    return [each.exitcode for each in several], log.read_text()


def test_ranks_share_the_work_in_order(tmp_path):
    assert launch(tmp_path, *[exchanges] * 3) == ([0, 0, 0], "")


def test_an_error_is_one_line_that_names_the_rank_and_ends_all(tmp_path):
    assert launch(tmp_path, *[fails] * 2) == ([1, 1], "sppdet: error: rank 1: data: no objects\n")


def test_the_interpreter_exits_after_the_watch(tmp_path):
    assert launch(tmp_path, *[ends_amid_beats] * 3) == ([0] * 3, "")


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named(tmp_path):
    codes, told = launch(tmp_path, *[is_killed] * 3)
    assert codes == [1, -signal.SIGKILL, 1]
    assert told == "sppdet: error: rank 1 gave no sign of life for 3 s; repeat the command to resume\n"


@pytest.mark.slow
def test_a_rank_that_dies_before_it_joins_is_named(tmp_path):
    codes, told = launch(tmp_path, nothing, None)
    assert codes == [1, 1]
    assert told == "sppdet: error: rank 0: rank 1 did not start within 3 s\n"


@pytest.mark.slow
def test_a_rank_that_takes_longer_than_the_limit_is_waited_for(tmp_path):
    assert launch(tmp_path, *[takes_long] * 2) == ([0, 0], "")


@pytest.mark.slow
def test_other_commands_say_that_they_take_one_process(tmp_path):
    codes, told = launch(tmp_path, *[nothing] * 2, command="report")
    assert codes == [1, 1]
    assert told.count("report: does not run in several processes") == 1


def test_one_rank_computes_an_item_when_it_is_asked_for():
    asked: list[int] = []
    found = ranks.spread(range(3), lambda i: (torch.tensor(asked.append(i) or i),))
    assert int(next(found)[0]) == 0
    assert asked == [0]
    assert ranks.world() == 1
    with ranks.joined("report") as first:
        assert first
