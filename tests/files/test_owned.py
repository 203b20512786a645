"""Folders of the user's are refused, and one process at a time writes to one of sppdet's."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from sppdet.errors import ConfigError
from sppdet.files.atomic import write_json
from sppdet.files.owned import MARK, OwnedFolder, _acquire, check_new_file, hold_folder

HOLDER = """
import sys, fcntl
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path) -> Path:
    """A folder that an earlier command made."""
    with hold_folder(tmp_path / "run", "run", {"seed": 1}):
        (tmp_path / "run/heads").touch()
    return tmp_path / "run"


@pytest.fixture
def other_process(run):
    """Another process that holds the folder, until it is killed."""
    arguments = [sys.executable, "-S", "-c", HOLDER, str(run / MARK / "lock")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_folder_of_the_users_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(ConfigError, match=r"output: holds something else .*empty folder"), hold_folder(tmp_path, "run"):
        pass
    with pytest.raises(ConfigError, match="is not a folder"), hold_folder(tmp_path / "config.json", "run"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_a_file_manager_has_shown_is_empty(tmp_path):
    (tmp_path / ".DS_Store").touch()
    with hold_folder(tmp_path, "run"):
        (tmp_path / "heads").touch()
    assert (tmp_path / MARK).is_dir()
    assert (tmp_path / ".DS_Store").exists()


def test_a_mark_that_leads_elsewhere_is_none(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MARK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="holds something else"), hold_folder(tmp_path / "run", "run"):
        pass
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_folder_goes_on_as_what_it_is(run):
    with hold_folder(run, "run"):
        pass
    with (
        pytest.raises(ConfigError, match="got a folder marked as run, not as detection"),
        hold_folder(run, "detection"),
    ):
        pass
    assert sorted(file.name for file in run.iterdir()) == [MARK, "heads"]


def test_a_run_of_an_earlier_version_goes_on_after_the_command_that_the_error_names(run):
    (run / MARK / "lock").unlink()
    (run / MARK / "owner.json").unlink()
    (run / MARK).rmdir()
    with pytest.raises(ConfigError, match=rf"mkdir {run / MARK}"):
        OwnedFolder(run, "run").check()
    (run / MARK).mkdir()
    with hold_folder(run, "run"):
        pass


def test_a_folder_with_a_log_that_the_shell_made_is_written_to_after_the_same_command(tmp_path):
    (tmp_path / "log.txt").touch()
    with pytest.raises(ConfigError, match=rf"to write among these files all the same: mkdir {tmp_path / MARK}"):
        OwnedFolder(tmp_path, "run").check()
    (tmp_path / MARK).mkdir()
    with hold_folder(tmp_path, "run") as owned, pytest.raises(ConfigError, match="is a file of yours"):
        owned.claim(["log.txt"])


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"kind'])
def test_a_damaged_mark_stops_nothing_and_claims_nothing(run, content):
    (run / MARK / "owner.json").write_text(content)
    with hold_folder(run, "run") as owned:
        assert owned.files() == set()


@pytest.mark.parametrize("made", [False, True])
def test_nothing_is_left_where_nothing_was_written(tmp_path, made):
    if made:
        (tmp_path / "a/run").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), hold_folder(tmp_path / "a/run", "run"):
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.rglob("*")] == (["a", "run"] if made else [])


def test_only_files_that_were_claimed_are_replaced(run):
    with hold_folder(run, "run") as owned:
        owned.claim(["a.jpg"])
        (run / "a.jpg").touch()
        owned.claim(["a.jpg", "b.jpg"])
        with pytest.raises(ConfigError, match=r"heads: output: is a file of yours"):
            owned.claim(["c.jpg", "heads"])
        assert owned.files() == {"a.jpg", "b.jpg"}
    write_json(run / MARK / "owner.json", {"files": ["../../planted", "a.jpg"]})
    assert OwnedFolder(run, "run").files() == {"a.jpg"}


def test_another_process_is_waited_for_until_it_is_killed(run, other_process, caplog):
    caplog.set_level("INFO", "sppdet")
    timer = threading.Timer(0.2, other_process.kill)
    timer.start()
    with hold_folder(run, "run"):
        timer.join()
        assert other_process.wait() < 0
    assert f"{run}: in use by process {os.getpid()} on " in caplog.text  # which the mark names here


def test_a_lock_that_its_holder_removed_at_the_last_moment_holds_nothing(tmp_path, monkeypatch):
    """A holder that wrote nothing removes the folder, then lets go: another that had its file open has no lock."""
    acquire, late = FileLock.acquire, iter([True])

    def acquire_after_removal(lock: FileLock, **options) -> object:
        taken = acquire(lock, **options)
        if next(late, False):
            (tmp_path / "run" / MARK / "lock").unlink()
        return taken

    monkeypatch.setattr(FileLock, "acquire", acquire_after_removal)
    with hold_folder(tmp_path / "run", "run") as owned, pytest.raises(Timeout):
        FileLock(owned.lock, is_singleton=False).acquire(timeout=0)


def test_a_folder_that_its_holder_removes_at_the_last_moment_is_made_again(tmp_path, monkeypatch):
    touch, late = Path.touch, iter([True])

    def touch_after_removal(path: Path) -> None:
        if next(late, False):
            path.parent.rmdir()
        touch(path)

    monkeypatch.setattr(Path, "touch", touch_after_removal)
    with hold_folder(tmp_path / "run", "run") as owned:
        assert owned.lock.is_file()


def test_the_holder_is_named_once_also_if_it_marks_the_folder_later(run, caplog):
    caplog.set_level("INFO", "sppdet")
    owner, tries = run / MARK / "owner.json", iter(range(9))
    text = owner.read_text()
    owner.unlink()

    class Lock:
        def acquire(self, timeout: float) -> None:
            assert timeout < 1
            if (count := next(tries)) == 1:
                owner.write_text(text)
            if count < 3:
                raise Timeout("lock")

    _acquire(Lock(), OwnedFolder(run, "run"), lambda _: None)
    assert caplog.text.count(f"in use by process {os.getpid()}") == 1


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "none"), OSError(errno.ENOTSUP, "no"), NotImplementedError()])
def test_a_file_system_without_locks_is_a_warning(run, monkeypatch, caplog, error):
    def fail(*_args, **_options) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", fail)
    with hold_folder(run, "run", {"seed": 3}) as owned:
        assert owned.owner()["config"] == {"seed": 3}
    assert f"{run}: its file system has no locks" in caplog.text


def test_another_process_with_another_configuration_is_an_error_at_once(run, other_process):
    def check_owner(owner: dict) -> None:
        assert owner["config"] == {"seed": 1}
        raise ConfigError("another configuration")

    before = (run / MARK / "owner.json").read_text()
    with pytest.raises(ConfigError, match="another configuration"), hold_folder(run, "run", {"seed": 2}, check_owner):
        pass
    assert (run / MARK / "owner.json").read_text() == before
    assert other_process.poll() is None


def test_a_file_of_results_replaces_none(tmp_path):
    check_new_file(tmp_path / "new.csv")
    (tmp_path / "old.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"old\.csv: output: exists already"):
        check_new_file(tmp_path / "old.csv")
