"""Folders that commands write to: marked as sppdet's own, and held by one process at a time.

A folder that holds anything and has no mark is the user's, and refused. The mark is a hidden folder with two files:
what wrote the folder, and a lock of the operating system, which ends with its process, also when that is killed.
"""

import errno
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from sppdet.errors import ConfigError, SppdetError
from sppdet.files.atomic import read_json, write_json
from sppdet.files.durable import NO_LOCKS

logger = logging.getLogger(__name__)

MARK = ".sppdet"
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # file managers leave them in folders that are only looked at
OTHER_FOLDER = "a new or an empty folder, or one that this command made"
POLL_SECONDS = 0.5
MOST_LOST = 1000  # folders removed in the moment in which they were made


class OwnedFolder:
    """A folder and its mark. kind: what a command makes there, such as a run."""

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        self.path, self.kind = Path(path), kind
        self.mark = self.path / MARK
        self.lock, self._owner = self.mark / "lock", self.mark / "owner.json"

    def check(self) -> None:
        """Raise ConfigError if the folder is a file, or holds anything without being marked as of this kind."""
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError("is not a folder", file=self.path, field="output", expected=OTHER_FOLDER)
        if not self.path.is_dir():
            return
        try:
            empty = all(each.name in LITTER for each in self.path.iterdir())
        except OSError as error:
            raise SppdetError(f"cannot be read: {error.strerror}", file=self.path, field="output") from error
        if not empty and (self.mark.is_symlink() or not self.mark.is_dir()):
            expected = f"{OTHER_FOLDER}; to write among these files all the same: mkdir {self.mark}"
            raise ConfigError("holds something else", file=self.path, field="output", expected=expected)
        kind = self.owner().get("kind", self.kind)
        if kind != self.kind:
            got = f"a folder marked as {kind}, not as {self.kind}"
            raise ConfigError("holds something else", file=self.path, field="output", expected=OTHER_FOLDER, got=got)

    def share(self) -> None:
        """Mark the folder without a lock, for processes of any machine that write files of different names there."""
        self.check()
        write_json(self._owner, {"kind": self.kind})

    def owner(self) -> dict[str, Any]:
        """Return what the mark says: kind, process, host, since, and files and config if they are known."""
        try:
            content = read_json(self._owner)
        except SppdetError:  # none, or damaged: the lock alone keeps others away
            content = {}
        return content if isinstance(content, dict) else {}

    def files(self) -> set[str]:
        """Return the names of the files in the folder that `claim` recorded."""
        names = self.owner().get("files")
        return {name for name in names if Path(str(name)).name == name} if isinstance(names, list) else set()

    def claim(self, names: Sequence[str]) -> None:
        """Record files that are about to be written, beside those recorded already.

        Raises ConfigError if one of them exists that is not recorded: it is the user's.
        """
        known = self.files()
        for name in names:
            if name not in known and os.path.lexists(self.path / name):
                file = self.path / name
                raise ConfigError("is a file of yours", file=file, field="output", expected="another folder")
        self.record(known.union(names))

    def record(self, names: set[str]) -> None:
        write_json(self._owner, {**self.owner(), "files": sorted(names)})


@contextmanager
def hold_folder(
    path: str | PathLike[str],
    kind: str,
    config: Mapping[str, Any] | None = None,
    check_owner: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Iterator[OwnedFolder]:
    """Own a folder while the block runs: make and mark it, and keep other processes from it.

    If another process holds it, the log says which, and this one waits. check_owner: called with what that one's mark
    says, its config included; it may raise in place of waiting. Where the file system has no locks, a warning says so.
    Nothing is left of a folder in which the block wrote nothing. Raises ConfigError for a folder of the user's
    (`OwnedFolder.check`).
    """
    from filelock import FileLock

    folder = OwnedFolder(path, kind)
    folder.check()
    missing = [each for each in (folder.path, *folder.path.parents) if not each.exists()]
    try:
        lock = FileLock(folder.lock)
        _acquire(lock, folder, check_owner)
    except OSError as error:
        raise SppdetError(f"cannot be written: {error.strerror or error}", file=folder.path, field="output") from error
    try:
        folder.check()  # another kind may have been made meanwhile
        owner = {
            "kind": kind,
            "process": os.getpid(),
            "host": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M"),
        }
        write_json(folder._owner, {**folder.owner(), **owner, "config": config})
        yield folder
    finally:
        with suppress(OSError):
            if [each.name for each in folder.path.iterdir()] == [MARK]:
                for file in (folder._owner, folder.lock):
                    file.unlink(missing_ok=True)
                for each in (folder.mark, *missing):
                    each.rmdir()
        lock.release()


def _acquire(lock: Any, folder: OwnedFolder, check_owner: Callable[[dict[str, Any]], None]) -> None:
    from filelock import Timeout

    told, patience, lost = False, 0.0, 0
    while True:
        try:
            folder.mark.mkdir(parents=True, exist_ok=True)
            folder.lock.touch()
            before = folder.lock.stat()
            lock.acquire(timeout=patience)
            if os.path.samestat(before, folder.lock.stat()):
                return
            lock.release()  # of a file that the process that had it removed
        except FileNotFoundError:  # it removed the folder
            lock.release()
            lost += 1
            if lost == MOST_LOST:
                raise
        except Timeout:
            owner = folder.owner()
            check_owner(owner)
            if owner and not told:  # it says so a moment after it has the lock
                holder = f"process {owner.get('process')} on {owner.get('host')}, since {owner.get('since')}"
                logger.info("%s: in use by %s; waiting for it to end", folder.path, holder)
                told = True
            patience = POLL_SECONDS
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
                raise
            logger.warning("%s: its file system has no locks: let one process at a time write there", folder.path)
            return


def check_new_file(file: str | PathLike[str], *suffixes: str, mark: str = "") -> None:
    """Raise ConfigError unless a result can be written there: with one of these suffixes, if any are given, and where
    there is no file, or one with this mark in its first bytes."""
    path = Path(file)
    if suffixes and path.suffix not in suffixes:
        raise ConfigError("unknown format", field="output", expected=f"a {' or '.join(suffixes)} file", got=file)
    if os.path.lexists(path) and not (mark and path.is_file() and _begins_with(path, mark)):
        raise ConfigError("exists already", file=path, field="output", expected="a new file; or remove this one")


def _begins_with(path: Path, mark: str) -> bool:
    with path.open("rb") as file:
        return mark.encode() in file.read(300)
