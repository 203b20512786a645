"""Progress: bars on a terminal, log lines elsewhere, and the time that is left."""

import io
import logging
import sys

import pytest

from sppdet.log import log_to_stderr
from sppdet.runtime import progress as module
from sppdet.runtime.bar import Bar
from sppdet.runtime.progress import Stage, plan, progress, start_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch) -> Terminal:
    """Replace stderr by a terminal of 90 columns, whose bars are drawn at each step."""
    terminal, init = Terminal(), Bar.__init__

    def begin(bar: Bar, *given, **more) -> None:
        init(bar, *given, ncols=90, mininterval=0, **more)
        bar._time = module.time.perf_counter
        bar.start_t = bar.last_print_t = bar._time()

    monkeypatch.setattr(Bar, "__init__", begin)
    monkeypatch.setattr(sys, "stderr", terminal)  # not in a fixture, whose stderr is not the test's
    return terminal


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, which passes by what is added to it."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def run(items, title, clock, seconds) -> None:
    for _, taken in zip(progress(items, title), seconds, strict=True):
        clock[0] += taken


def test_no_bar_but_a_line_where_there_is_no_terminal(capsys, caplog):
    with caplog.at_level(logging.INFO, "sppdet"), plan(Stage("read", 3, 1.0), Stage("fit", 1, 1.0)):
        assert list(progress(range(3), "read")) == [0, 1, 2]
        assert list(progress(iter("a"), "fit", 1, "step")) == ["a"]
        assert list(progress([], "read")) == []
    out, err = capsys.readouterr()
    assert out == ""
    assert "\r" not in err
    assert "%" not in err
    assert caplog.messages == ["1/2 read: 3 images", "2/2 fit: 1 step"]


def test_a_notebook_has_a_bar_although_its_stderr_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert list(progress(range(3), "read")) == [0, 1, 2]
    assert "read: 100%" in capsys.readouterr().err


def test_a_bar_says_which_stage_it_is_and_the_time_to_the_end(monkeypatch, clock):
    terminal = on_a_terminal(monkeypatch)
    stages = Stage("read", 10, 1.0), Stage("skipped", 100, 1.0), Stage("fit", None, 2.0), Stage("read", 10, 1.0)
    with plan(*stages):
        run(range(10), "read", clock, [60, *[3] * 9])  # the first compiles
        run(range(10), "fit", clock, [6] * 10)
        run(range(5), "unplanned", clock, [1] * 5)
    lines = terminal.getvalue().split("\r")
    assert "1/4 read: 100%" in terminal.getvalue()
    (half,) = {line.strip() for line in lines if "1/4 read:  50%" in line}
    assert "[01:00<?]" not in half
    assert "<00:15]" in half
    (half,) = {line.strip() for line in lines if "3/4 fit:  50%" in line}
    assert "<00:30]" in half
    assert "2 min to the end" in half  # 30 s, and another reading of ten images
    assert "\runplanned:" in terminal.getvalue()


@pytest.mark.parametrize(("words", "lines"), [({}, True), ({"quiet": True}, False), ({"verbose": True}, True)])
def test_quiet_is_quiet_and_verbose_tells_seconds(words, lines, monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    log_to_stderr(**words)
    try:
        list(progress(range(2), "read"))
    finally:
        log_to_stderr()
    assert ("read: 100%" in terminal.getvalue()) == lines
    assert ("read: 2 in 0." in terminal.getvalue()) == ("verbose" in words)


def test_a_bar_without_a_known_end(caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        start_bar("archive", None, "B")
        start_bar("archive", 2_000_000, "B")
        with plan(Stage("archive", 0, 1.0), Stage("check", 2, 1.0)):
            start_bar("archive", None, "B")
    assert caplog.messages == ["archive", "archive: 2 MB", "1/2 archive"]


def test_a_single_stage_has_no_number(caplog):
    with caplog.at_level(logging.INFO, "sppdet"), plan(Stage("read", 3, 1.0)):
        list(progress(range(3), "read"))
    assert caplog.messages == ["read: 3 images"]


def test_a_terminal_that_does_not_say_how_wide_it_is_has_a_bar(monkeypatch):
    master, slave = pytest.importorskip("pty").openpty()  # 0 columns
    with open(slave, "w") as terminal, open(master, "rb") as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert list(progress(range(3), "read")) == [0, 1, 2]
        assert b"read:   0%|" in screen.read1()
