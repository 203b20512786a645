"""Files and folders that appear whole or not at all, also after a kill or a power cut.

Unfinished ones are in a hidden folder next to their place, which nothing reads as data. Its process holds a lock on it;
the next process of the same machine that writes there removes those of processes that have ended.
"""

import errno
import os
import platform
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import PathLike
from pathlib import Path

from sppdet.errors import DataError, SppdetError

if sys.platform != "win32":
    import fcntl

TEMPORARY = ".sppdet-tmp-"
# Of a file system that has none, or, as some network file systems, none of a folder that is open to read.
NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EBADF, errno.EINVAL)


def cache_folder() -> Path:
    """Return the folder of the caches: $SPPDET_CACHE, or ~/.cache/sppdet."""
    return Path(os.environ.get("SPPDET_CACHE") or "~/.cache/sppdet").expanduser()


def write_atomically(path: str | PathLike[str], write: Callable[[Path], object], durable: bool = True) -> None:
    """Call `write` with a temporary path of the same name, then move it onto `path`; on failure no file is left.

    durable: when it returns, the file survives a power cut. It has the mode of the user's umask. Raises SppdetError if
    the disk is full, the folder read-only and so on.
    """
    path = Path(path)
    try:
        _make_folder(path.parent)
        with temporary_folder(path.parent) as folder:
            temporary = folder / path.name
            temporary.touch()
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)  # safetensors replaces the file by one of 0600
            if durable:
                _sync(temporary)
            os.replace(temporary, path)
            if durable:
                _sync(path.parent)
    except OSError as error:
        way = "another folder of the caches: $SPPDET_CACHE" if cache_folder() in path.parents else None
        raise SppdetError(f"cannot be written: {error.strerror or error}", file=path, expected=way) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which becomes `folder` when the block ends; otherwise nothing is left.

    Raises DataError if `folder` holds anything, or cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("holds other files", file=folder, expected="a new or an empty folder")
    try:
        _make_folder(folder.parent)
        with temporary_folder(folder.parent) as temporary:
            unfinished = temporary / folder.name
            unfinished.mkdir()
            yield unfinished
            if sys.platform != "win32":
                os.sync()  # many files at once, which takes a fraction of the time of one after the other
            for place, _, names in os.walk(unfinished):
                for path in (*(Path(place, name) for name in names), Path(place)):
                    if not path.is_symlink():
                        _sync(path)
            if folder.exists():
                folder.rmdir()
            os.replace(unfinished, folder)
            _sync(folder.parent)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", file=folder) from error


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `place`, locked until it is removed at the end of the block."""
    remove_leftovers(place.resolve())
    handle = None
    while handle is None:  # until no other process took it for a leftover before it was locked
        folder = Path(tempfile.mkdtemp(prefix=own_prefix(), dir=place))
        handle = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle >= 0:
            os.close(handle)


def own_prefix() -> str:
    """Return the beginning of this machine's names; network file systems show it no locks of folders of others."""
    return f"{TEMPORARY}{zlib.crc32(platform.node().encode(errors='surrogateescape')):08x}-"


@cache
def remove_leftovers(place: Path) -> None:
    """Remove unfinished files of processes that have ended; a process looks once into each folder."""
    for folder in place.glob(f"{own_prefix()}*") if sys.platform != "win32" else ():
        with suppress(OSError):
            handle = _lock(folder, wait=False)
            if handle is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)


def _lock(folder: Path, wait: bool = True) -> int | None:
    """Lock a folder until the handle returned is closed or the process ends; None if it was removed meanwhile."""
    if sys.platform == "win32":  # folders cannot be locked, and no leftovers are removed
        return -1
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink and folder.exists():
            return handle
    except OSError as error:
        if wait and error.errno in NO_LOCKS:
            return handle
        os.close(handle)
        raise
    os.close(handle)
    return None


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, to survive a power cut."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    if sys.platform == "win32" and (path.is_dir() or not os.access(path, os.W_OK)):  # cannot be opened to write
        return
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)
