"""OpenCV's selective search in a process of its own, as contrib builds cannot share a place with opencv-python."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal

import numpy as np

from sppdet.errors import ConfigError

SCRIPT = Path(__file__).with_name("opencv_peer.py")


@contextmanager
def start_opencv(interpreter: str, script: Path = SCRIPT) -> Iterator[OpenCVProcess]:
    """Run OpenCV in a process of `interpreter` that ends with the context.

    Raises ConfigError if it cannot be started or its OpenCV has no selective search.
    """
    with TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [interpreter, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise ConfigError(f"cannot be started: {error.strerror}", field="opencv_python", got=interpreter) from error
        with process:
            try:
                yield OpenCVProcess(interpreter, process, errors)
            finally:
                process.kill()
                with suppress(BrokenPipeError):  # unsent bytes stay in the buffer
                    process.stdin.close()  # type: ignore[union-attr]


class OpenCVProcess:
    """Client of the script `opencv_peer.py`; version: that of its OpenCV."""

    def __init__(self, interpreter: str, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._interpreter, self._process, self._errors = interpreter, process, errors
        self.version: str = self._receive("opencv")[0]

    def search(self, image: np.ndarray, mode: Literal["fast", "quality"], threads: int) -> tuple[float, np.ndarray]:
        """Search an RGB array uint8 (H, W, 3): seconds measured there, and boxes int64 (N, 4), x1 y1 x2 y2 half-open.

        Raises ConfigError if the process fails.
        """
        array = io.BytesIO()
        np.save(array, np.ascontiguousarray(image[..., ::-1]))
        request = json.dumps({"mode": mode, "threads": threads, "bytes": array.tell()}).encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request + b"\n" + array.getvalue())
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure() from error
        seconds, data = self._receive("seconds")
        try:
            boxes = np.load(io.BytesIO(data), allow_pickle=False).astype(np.int64).reshape(-1, 4)
        except (ValueError, EOFError) as error:
            raise self._failure() from error
        boxes[:, 2:] += boxes[:, :2]
        return seconds, boxes

    def _receive(self, key: str) -> tuple[Any, bytes]:
        """Receive a message: its value under `key`, and its bytes."""
        assert self._process.stdout is not None
        try:
            message = json.loads(self._process.stdout.readline())
            return message[key], self._process.stdout.read(message["bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._failure() from error

    def _failure(self) -> ConfigError:
        """Return an error with the last line that the process wrote to stderr."""
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return ConfigError(
            "OpenCV's selective search fails in this interpreter",
            field="opencv_python",
            expected="an interpreter with opencv-contrib-python",
            got=f"{self._interpreter}: {said[-1] if said else f'exit status {self._process.returncode}'}",
        )
