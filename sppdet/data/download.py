"""Download of PASCAL VOC, resumable; checks and unpacks archives, which may be on disk already."""

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from sppdet.errors import DataError
from sppdet.runtime.progress import start_bar

BLOCK_BYTES = 1 << 20
UNPACKING = ".unpacking-"  # folders of unfinished archives
MARK = ".{}.done"  # in VOCdevkit, of an unpacked archive
TIMEOUT_SECONDS = 60  # without a byte


class Archive(NamedTuple):
    """A tar file that unpacks into VOCdevkit. url: absolute, or relative to the base URL."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


VOC_URL = "http://host.robots.ox.ac.uk/pascal/VOC/"
VOC_ARCHIVES: Mapping[str, tuple[Archive, ...]] = {
    "2007": (
        Archive("voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
        Archive("voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
    ),
    "2012": (Archive("voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),),
}


def download_voc(
    folder: str | PathLike[str],
    years: Sequence[str] = ("2007",),
    archives: str | PathLike[str] | None = None,
    base_url: str = VOC_URL,
    table: Mapping[str, Sequence[Archive]] = VOC_ARCHIVES,
) -> Path:
    """Put VOC's images and annotations of these years into folder/VOCdevkit, and return that path.

    archives: folder that already holds the archives; nothing is downloaded. Archives in `folder` itself are used too.
    Checksums are always compared. The next call resumes an interrupted download and skips unpacked archives, which are
    marked by folder/VOCdevkit/.<archive>.done. Downloaded archives are deleted after unpacking, others are kept.
    Raises DataError for an unknown year, a wrong checksum, a refused or broken connection or a damaged archive.
    """
    folder = Path(folder)
    for year in years:
        if year not in table:
            raise DataError("no such year", field="years", expected=tuple(table), got=year)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror}", file=folder) from error
    for left in folder.glob(f"{UNPACKING}*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    for archive in (archive for year in years for archive in table[year]):
        done = folder / "VOCdevkit" / MARK.format(archive.name)
        if done.is_file():
            continue
        path = Path(archives or folder) / archive.name
        downloaded = archives is None and not path.is_file()
        if downloaded:
            path = path.with_name(f"{path.name}.part")
            _download(urllib.parse.urljoin(base_url, archive.url), path)
        try:
            _check(path, archive.md5)
        except DataError:
            if downloaded:
                path.unlink()  # wrong bytes cannot be resumed
            raise
        _unpack(path, folder)
        if hasattr(os, "sync"):  # the mark is on the disk after what it stands for
            os.sync()
        if downloaded:
            path.unlink()
        done.touch()
    return folder / "VOCdevkit"


def _download(url: str, part: Path) -> None:
    """Download to `part`, resuming an interrupted download."""
    try:
        _fetch(url, part)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send; the checksum decides whether the file is complete
            raise DataError(f"refused by the server: {error.code} {error.reason}", file=url) from error
        error.close()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"cannot be downloaded: {reason}; call again to resume", file=url) from error


def _fetch(url: str, part: Path) -> None:
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    # The addresses are constants of this file, so that no other scheme is opened.
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # nosec B310
        if response.status != 206:  # the server ignored the range and sends the whole file
            start = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        with start_bar(part.stem, total, "B", start) as bar, part.open("ab" if start else "wb") as file:
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection broke off at {part.stat().st_size} of {total} bytes")


def _check(path: Path, md5: str) -> None:
    if not path.is_file():
        raise DataError("archive not found", file=path)
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "md5").hexdigest()
    if got != md5:
        raise DataError("wrong checksum", file=path, expected=f"md5 {md5}", got=got)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack next to the destination, then move, so that no half-written file ever has its final name."""
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=UNPACKING))  # new and empty: nothing can wait in it
    try:
        with tarfile.open(path, "r:") as tar:  # not compressed: its members have no more bytes than it has
            tar.extractall(temporary, _checked_members(tar, path), filter="data")
        if not (temporary / "VOCdevkit").is_dir():
            raise DataError("holds no VOCdevkit folder", file=path)
        _check_names(temporary / "VOCdevkit", folder / "VOCdevkit", path)
        _merge(temporary / "VOCdevkit", folder / "VOCdevkit")
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot be unpacked: {str(error) or 'not enough memory'}", file=path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _checked_members(tar: tarfile.TarFile, path: Path) -> list[tarfile.TarInfo]:
    """Return all members. Raises DataError for one that is refused, and for a header that cannot be read."""
    members = []
    for member in tar:  # checked one by one: after a negative size tarfile reads the same headers for ever
        _check_member(member, path)
        members.append(member)
    with path.open("rb") as file:  # tarfile takes a damaged header for the end
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise DataError("cannot be unpacked: damaged header", file=path, got=f"byte {tar.offset}")
    return members


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Raise DataError for a member that is not a plain file or folder below the archive's own folder."""
    plain = member.size >= 0 and (member.isdir() or (member.isreg() and not member.issparse()))
    if not plain or member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError("cannot be unpacked: not a plain file", file=path, got=member.name)


def _check_names(source: Path, target: Path, path: Path) -> None:
    """Raise DataError, before anything is moved, for a mark, and for a file where there is a folder or vice versa."""
    for mark in source.glob(MARK.format("*")):
        raise DataError("cannot be unpacked: marks an archive as unpacked", file=path, got=mark.name)
    for new in source.rglob("*"):
        old = target / new.relative_to(source)
        if old.exists() and old.is_dir() != new.is_dir():
            raise DataError("cannot be unpacked: a file and a folder of one name", file=path, got=old)


def _merge(source: Path, target: Path) -> None:
    """Move a tree to another place, merging folders that exist in both: the lists of images after the images."""
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir(), key=lambda child: child.name == "ImageSets"):
            _merge(child, target / child.name)
    else:
        os.replace(source, target)
