"""The entries of the caches on the disk: their size and age, and the removal of old ones."""

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from sppdet.files.bounded_json import parse_json
from sppdet.files.durable import TEMPORARY, cache_folder

KINDS = ("proposals", "features", "detections")
DAY = 24 * 3600.0


class Entry(NamedTuple):
    """A file of a cache. kind: one of KINDS. used: seconds since the epoch, when it was made or last read."""

    kind: str
    path: Path
    size: int
    used: float

    def made_by(self) -> str:
        """Read the settings that the entry depends on; empty if it does not say, or has been removed meanwhile."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                content = parse_json((file.metadata() or {}).get("sppdet", "{}").encode())
            return str(content["header"].get("made_by", ""))
        except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError):
            return ""


def find_entries() -> Iterator[Entry]:
    """Yield the entries of all caches: the files KIND/KE/KEY.safetensors. Links and other files are left out."""
    for kind in KINDS:
        for folder in _folders(cache_folder() / kind, re.compile("[0-9a-f]{2}")):
            for each in _scan(folder):
                named = re.fullmatch(r"([0-9a-f]{32})\.safetensors", each.name)
                with suppress(FileNotFoundError):
                    state = each.stat(follow_symlinks=False)
                    if named and named[1].startswith(folder.name) and stat.S_ISREG(state.st_mode):
                        yield Entry(kind, Path(each.path), state.st_size, state.st_mtime)


def prune(older_days: float | None = None, keep_bytes: float | None = None) -> list[Entry]:
    """Remove the entries that were not used for so many days, and those used longest ago until the rest fits.

    What a killed process left unfinished is removed as well, after as many days, at least one. Returns the entries.
    """
    now, entries = time.time(), sorted(find_entries(), key=lambda entry: -entry.used)
    removed, total = [], 0
    for entry in entries:
        total += entry.size
        old = older_days is not None and now - entry.used > older_days * DAY
        if old or (keep_bytes is not None and total > keep_bytes):
            entry.path.unlink(missing_ok=True)
            removed.append(entry)
    for kind in KINDS:
        for folder in _folders(cache_folder() / kind, re.compile("[0-9a-f]{2}")):
            for unfinished in _folders(folder, re.compile(re.escape(TEMPORARY) + ".*")):
                with suppress(FileNotFoundError):
                    if now - unfinished.stat().st_mtime > max(1.0, older_days or 0) * DAY:
                        shutil.rmtree(unfinished, ignore_errors=True)
    return removed


def _folders(place: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the folders in a folder whose names fit; links are none."""
    found = [each for each in _scan(place) if name.fullmatch(each.name) and each.is_dir(follow_symlinks=False)]
    return sorted(Path(each.path) for each in found)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []
