"""Atomic files, content keys, JSON, and safetensors with a JSON header."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sppdet.errors import DataError, SppdetError, WeightsError
from sppdet.files.bounded_json import parse_json
from sppdet.runtime.limits import check_bytes
from sppdet.wording import printable


def cache_folder() -> Path:
    """Return the folder of the caches: $SPPDET_CACHE, or ~/.cache/sppdet."""
    return Path(os.environ.get("SPPDET_CACHE") or "~/.cache/sppdet").expanduser()


def content_key(*parts: object) -> str:
    """Return a hex key of everything that a result depends on: the bytes of files, the values and shapes of tensors,
    the JSON of anything else."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes()
        else:
            value = [part.shape, hash_tensors([part])] if isinstance(part, Tensor) else part
            data = json.dumps(value, sort_keys=True, default=str).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:32]


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """Return a hex key of the values of tensors, such as the weights of a network."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_atomically(path: str | PathLike[str], write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path in the same folder, then move it onto `path`; on failure no file is left.

    The file gets the mode of the user's umask (safetensors and tempfile would leave 0600).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        way = "another folder of the caches: $SPPDET_CACHE" if cache_folder() in path.parents else None
        raise SppdetError(f"cannot be written: {error.strerror or error}", file=path, expected=way) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`, which becomes it when the block ends; otherwise nothing is left.

    Raises DataError if `folder` holds anything, or cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("holds other files", file=folder, expected="a new or an empty folder")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.exists():
            folder.rmdir()
        os.replace(unfinished, folder)
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", file=folder) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: str | PathLike[str], text: str) -> None:
    """Write text atomically, UTF-8. Names of files in it that are not UTF-8 keep their bytes."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half characters, which JSON may give
        data = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


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
        check_bytes(Path(path).stat().st_size, path)
        return parse_json(Path(path).read_bytes())
    except OSError as error:
        raise SppdetError(reading_failed(error), file=path) from error
    except (ValueError, RecursionError) as error:
        raise SppdetError(f"is not JSON: {error}", file=path) from error


def save_tensors(
    path: str | PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, Any] | None = None
) -> None:
    """Write tensors and a JSON header into one safetensors file, atomically."""
    metadata = {"sppdet": json.dumps(json_ready(dict(header or {})), sort_keys=True)}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata))


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


def load_tensors(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors (memory-mapped) and the header of a file written by `save_tensors`.

    Raises WeightsError if the file is missing, truncated or of another program.
    """
    if not Path(path).is_file():
        raise WeightsError("file not found", file=path)
    try:
        with _utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            header = parse_json((file.metadata() or {})["sppdet"].encode())
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WeightsError("is not a readable sppdet safetensors file", file=path, got=error) from error
