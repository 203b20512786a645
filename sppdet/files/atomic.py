"""Content keys, JSON, and safetensors with a JSON header, a key and a digest; all files are written atomically.

torch is imported when tensors are: the commands that read JSON only are quick.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from safetensors import SafetensorError, safe_open

from sppdet.errors import SppdetError, WeightsError
from sppdet.files.bounded_json import parse_json
from sppdet.files.durable import write_atomically
from sppdet.runtime.limits import read_whole
from sppdet.wording import printable

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_verified: set[int] = set()  # hashes of the states of cache entries, of which there may be millions

UNMARKED_NS = 3600 * 10**9  # how much older the time of a cache entry may be than its last use
FORMAT = 1  # of tensor files; a change of what is in them raises it
REMEDY = "the data that were written: remove the file, and make or copy it again"


def content_key(*parts: object) -> str:
    """Return a hex key of everything that a result depends on: the bytes of files, the values and shapes of tensors,
    the JSON of anything else."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes()
        else:
            value = [part.shape, hash_tensors([part])] if _is_tensor(part) else part
            data = json.dumps(value, sort_keys=True, default=str).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].Tensor)


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """Return a hex key of the values of tensors, such as the weights of a network."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically, UTF-8. Names of files in it that are not UTF-8 keep their bytes."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half characters, which JSON may give
        data = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_lines(path: str | PathLike[str], head: str, lines: Iterable[str], tail: str) -> None:
    """Write lines joined by commas, between head and tail, atomically; they are not in memory at once."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(head)
            for number, line in enumerate(lines):
                file.write(f",\n{line}" if number else line)
            file.write(tail)

    write_atomically(path, write)


def write_json(path: str | PathLike[str], value: Any) -> None:
    """Write JSON atomically; NaN and infinities become null."""
    write_text(path, json.dumps(json_ready(value), indent=1, allow_nan=False) + "\n")


def json_ready(value: Any) -> Any:
    """Convert NaN and infinities to None, tuples to lists, and paths to text."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return str(value) if isinstance(value, Path) else value


def reading_failed(error: OSError) -> str:
    """Return the reason why a file cannot be read."""
    return "file not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def read_json(path: str | PathLike[str]) -> Any:
    """Parse a JSON file in UTF-8 or UTF-16.

    Raises SppdetError that names the file if it is missing, not JSON, or larger or deeper than may be read.
    """
    try:
        return parse_json(read_whole(path))
    except OSError as error:
        raise SppdetError(reading_failed(error), file=path) from error
    except (ValueError, RecursionError) as error:
        raise SppdetError(f"is not JSON: {error}", file=path) from error


def save_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any] | None = None, key: str = ""
) -> None:
    """Write tensors and a JSON header into one safetensors file, atomically, with the format, a key and a digest.

    key: tells the file from others that might stand in its place. Raises WeightsError if a value is not finite.
    """
    check_finite(path, tensors)
    _write_tensors(path, tensors, header or {}, key, durable=True)


def save_cached(file: Path, tensors: Mapping[str, Tensor], made_by: str = "") -> None:
    """Write a cache entry, whose name is its key. It may be damaged by a power cut, and is then computed again.

    made_by: the settings that it depends on, for `sppdet cache`.
    """
    _write_tensors(file, tensors, {"made_by": made_by}, file.stem, durable=False)


def _write_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any], key: str, durable: bool
) -> None:
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = {"format": FORMAT, "key": key, "header": json_ready(dict(header))}
    content["digest"] = _digest(content, contiguous)
    metadata = {"sppdet": json.dumps(content, sort_keys=True)}  # of several entries, safetensors changes the order

    def write(temporary: Path) -> None:
        try:
            save_file(contiguous, temporary, metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(*([int(number[1]), os.strerror(int(number[1]))] if number else [str(error)])) from error

    write_atomically(path, write, durable)


def _digest(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    from sppdet.files.digest import digest

    rest = {name: value for name, value in content.items() if name != "digest"}
    return digest(json.dumps(rest, sort_keys=True), tensors)


def check_finite(path: str | PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError that names the first tensor with a value that is not finite."""
    for name, tensor in tensors.items():
        values = tensor.float() if tensor.element_size() == 1 else tensor  # torch does not look into 8 bits
        if tensor.is_floating_point() and not values.isfinite().all():
            raise WeightsError("not finite", file=path, field=name, expected="finite weights")


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors whose names begin with `prefix`, and remove it from the names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextmanager
def _utf8_path(path: str | PathLike[str]) -> Iterator[str | PathLike[str]]:
    """Yield a path of the same file that safetensors reads: it refuses those that are not UTF-8."""
    if printable(str(path)) == str(path):
        yield path
        return
    with Path(path).open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


def load_tensors(
    path: str | PathLike[str], key: str | None = None, verified: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors (memory-mapped) and the header of a file written by `save_tensors`.

    verified: the digest has been compared before. Raises WeightsError if the file is missing, damaged, of another
    program or format, or has another key.
    """
    tensors, content = read_safetensors(path, verified)
    if content is None:
        raise WeightsError("is not a readable sppdet safetensors file", file=path)
    if key is not None and content.get("key") != key:
        raise WeightsError("is another file, or of another run", file=path, expected=REMEDY)
    return tensors, content["header"]


def read_safetensors(
    path: str | PathLike[str], verified: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Read the tensors (memory-mapped) of a safetensors file, and what sppdet wrote with them; None if another program
    wrote it.

    Raises WeightsError if it is missing or damaged, or written by sppdet in another format.
    """
    if not Path(path).is_file():
        raise WeightsError("file not found", file=path)
    try:
        with _utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            text = (file.metadata() or {}).get("sppdet")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = None if text is None else parse_json(text.encode())
            intact = isinstance(content, dict) and (verified or content.get("digest") == _digest(content, tensors))
    except Exception as error:  # damaged files make it raise almost any
        raise WeightsError("is not a readable safetensors file", file=path, expected=REMEDY, got=error) from error
    if content is None:
        return tensors, None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        reason, remedy = ("a newer", "update sppdet") if newer else ("an older", "make the file again")
        raise WeightsError(f"has the format of {reason} sppdet", file=path, expected=f"{FORMAT}: {remedy}", got=found)
    if not intact or not isinstance(content.get("header"), dict):
        raise WeightsError("is damaged", file=path, expected=REMEDY)
    return tensors, content


def load_cached(file: Path) -> dict[str, Tensor] | None:
    """Read the tensors of a cache entry, whose name is its key; None if it is missing or, with a warning, damaged.

    A process compares the digest once for each state of a file: a training reads every file many times. Its time
    of modification is made that of its last use, as many file systems do not mark what is read.
    """
    try:
        state = file.stat()
        place = str(file), state.st_ino, state.st_size
        tensors = load_tensors(file, file.stem, hash((*place, state.st_mtime_ns)) in _verified)[0]
        _verified.add(hash((*place, state.st_mtime_ns)))
        now = time.time_ns()
        if now - state.st_mtime_ns > UNMARKED_NS:
            with suppress(OSError):  # of another user
                os.utime(file, ns=(now, now))
                _verified.add(hash((*place, now)))
        return tensors
    except (WeightsError, OSError):
        if file.is_file():
            logger.warning("%s: damaged cache entry, computed again", file, extra={"counted": True})
        return None
