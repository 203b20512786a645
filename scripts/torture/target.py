"""A reader that is fuzzed: how its inputs are made, what reads them, and how one reading is judged."""

import os
import random
import re
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sppdet.errors import SppdetError

MOST_SECONDS = 10.0  # of the processor, for one input
MOST_BYTES = 2 << 30
KEPT = 20  # offending inputs of a target and a kind


class Case(NamedTuple):
    """make: an input; read: what reads it, and asserts what holds for everything that is accepted."""

    make: Callable[[random.Random], bytes]
    read: Callable[[bytes], None]


class Target(NamedTuple):
    """prepare: makes the case in an empty folder of its own."""

    name: str
    prepare: Callable[[Path], Case]


def make_input(case: Case, target: str, seed: int, number: int) -> bytes:
    return case.make(random.Random(f"{seed} {target} {number}"))


def judge(case: Case, data: bytes) -> tuple[str, str]:
    """Read one input. Return "refused", "accepted", or the kind of the loss, and what there is to say about it."""
    _forget_peak()
    before, started = _memory("VmRSS"), time.process_time()
    outcome, text = "accepted", ""
    try:
        case.read(data)
    except SppdetError as error:
        outcome, text = "refused", str(error)
        if re.search("[\n\r\x1b]", error.message):
            outcome = "exception"  # of several lines, or with commands for a terminal
    except AssertionError:
        outcome, text = "wrong", traceback.format_exc()
    except KeyboardInterrupt:
        raise
    except BaseException:  # panics of libraries that are written in Rust are no Exception
        outcome, text = "exception", traceback.format_exc()
    seconds, peak = time.process_time() - started, _memory("VmHWM") - before
    if seconds > MOST_SECONDS or peak > MOST_BYTES:
        return "over limit", f"{seconds:.1f} s, {peak >> 20} MiB\n{text}"
    return outcome, text


def keep(folder: Path, name: str, kind: str, data: bytes, text: str) -> None:
    """Keep an offending input, and the reason next to it."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob(f"{name.rsplit('-', 1)[0]}-*.txt"))) < KEPT:
        (folder / name).write_bytes(data)
        (folder / f"{name}.txt").write_text(f"{kind}\n{text}\n", errors="backslashreplace")


def limit_memory() -> None:
    """Let no allocation take the machine's memory: 8 GiB more than this process has, torch's libraries included."""
    limit = _memory("VmSize") + (8 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _memory(name: str) -> int:
    """Bytes of this process, of a line of /proc/self/status; 0 where there is none."""
    if not os.path.exists("/proc/self/status"):
        return 0
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) << 10


def _forget_peak() -> None:
    if os.path.exists("/proc/self/clear_refs"):
        Path("/proc/self/clear_refs").write_text("5")
