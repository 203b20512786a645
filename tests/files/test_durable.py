"""Writes under failures of the disk, kills and power cuts."""

import errno
import os
import platform
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from sppdet.drawing.detections import write_picture
from sppdet.errors import SppdetError
from sppdet.files import durable
from sppdet.files.atomic import load_cached, save_cached, save_tensors, write_json
from sppdet.files.durable import TEMPORARY, new_folder, write_atomically
from sppdet.files.run_folder import RunFolder


def write_set(path: Path) -> None:
    with new_folder(path) as folder:
        (folder / "a").mkdir()
        (folder / "a" / "b").write_bytes(bytes(100_000))


WRITERS = {
    "tensors": lambda path: save_tensors(path, {"a": torch.zeros(100_000)}),
    "json": lambda path: write_json(path, list(range(100_000))),
    "picture": lambda path: write_picture(
        path.with_suffix(".png"), np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    ),
    "set": write_set,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, write):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(SppdetError, match="cannot be written: File too large"):
            write(tmp_path / "file.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_at_the_end_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, number):
    def fail(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    for write in WRITERS.values():
        with pytest.raises(SppdetError, match=os.strerror(number)):
            write(tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", WRITERS)
def test_the_content_is_on_the_disk_before_its_name_and_the_name_at_the_end(tmp_path, monkeypatch, kind):
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def record_sync(handle: int) -> None:
        events.append(os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    def record_replace(source, target) -> None:
        if TEMPORARY in str(source):
            events.append(f"rename {target}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    WRITERS[kind](tmp_path / "new" / "file")
    (at,) = (i for i, event in enumerate(events) if event.startswith("rename"))
    name = "b" if kind == "set" else Path(events[at]).name
    assert any(event.endswith(f"/{name}") for event in events[:at])
    assert str(tmp_path) in events[:at]  # that there is a folder `new`
    assert events[at + 1 :] == [str(tmp_path / "new")]


CODE = """
import sys
from pathlib import Path
from sppdet.files.durable import write_atomically
def wait(temporary):
    temporary.write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.read()
write_atomically(Path(sys.argv[1]), wait)
"""


def test_leftovers_are_no_data_and_go_at_the_next_start_but_not_those_of_a_running_process(tmp_path):
    other = [sys.executable, "-c", CODE, str(tmp_path / "heads-train.safetensors")]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        (left,) = tmp_path.iterdir()
        assert left.name.startswith(TEMPORARY)
        assert not left.suffix
        assert not RunFolder(tmp_path).has_weights()
        durable.remove_leftovers.cache_clear()
        write_json(tmp_path / "a.json", 1)
        assert left.is_dir()
        process.send_signal(signal.SIGKILL)
    durable.remove_leftovers.cache_clear()  # as in a new process
    write_json(tmp_path / "b.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_leftovers_of_another_machine_stay_whose_locks_are_not_seen(tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(platform, "node", lambda: "another")
        theirs = tmp_path / f"{durable.own_prefix()}x"
    theirs.mkdir()
    (tmp_path / f"{durable.own_prefix()}x").mkdir()
    durable.remove_leftovers.cache_clear()
    durable.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [theirs]


def test_the_files_of_a_set_are_flushed_together_before_each_is_waited_for(tmp_path, monkeypatch):
    events: list[object] = []
    monkeypatch.setattr(os, "sync", lambda: events.append("all"))
    monkeypatch.setattr(durable, "_sync", lambda path: events.append(path.name))
    write_set(tmp_path / "set")
    assert events[0] == "all"
    assert "b" in events[1:]


def test_windows_flushes_files_that_are_open_to_write(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    flags: list[int] = []
    monkeypatch.setattr(durable.sys, "platform", "win32")
    monkeypatch.setattr(os, "open", lambda _path, mode: flags.append(mode) or os.dup(0))
    with suppress(OSError):  # what stands for the file is none
        durable._sync(tmp_path / "a")
    durable._sync(tmp_path)
    assert flags == [os.O_RDWR]


def test_a_folder_that_was_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    lock, removed = durable._lock, []

    def lock_late(folder: Path, wait: bool = True) -> int | None:
        if not removed:
            folder.rmdir()
            removed.append(folder)
        return lock(folder, wait)

    monkeypatch.setattr(durable, "_lock", lock_late)
    write_json(tmp_path / "a.json", 1)
    assert removed
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_umask_is_not_set(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("other threads would make files of any mode"))
    write_atomically(tmp_path / "a", lambda temporary: temporary.write_text("x"))
    assert (tmp_path / "a").read_text() == "x"


def test_cache_entries_wait_for_no_disk(tmp_path, monkeypatch):
    synced: list[Path] = []
    monkeypatch.setattr(durable, "_sync", synced.append)
    (tmp_path / "cache").mkdir()
    save_cached(tmp_path / "cache" / "key.safetensors", {"a": torch.zeros(3)})
    assert synced == []
    assert torch.equal(load_cached(tmp_path / "cache" / "key.safetensors")["a"], torch.zeros(3))


@pytest.mark.skipif(sys.platform == "win32", reason="takes no locks there")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EBADF, errno.EINVAL])
def test_files_are_written_where_folders_have_no_locks(tmp_path, monkeypatch, number):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.fcntl, "flock", flock)
    for value in (1, 2):
        write_json(tmp_path / "a.json", value)
    assert (tmp_path / "a.json").read_text() == "2\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
