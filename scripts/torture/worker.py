"""Fuzzing in a process of its own, which is started again when an input ends it."""

import importlib
import logging
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torture.tally import KINDS, Tally
from torture.target import MOST_SECONDS, Target, judge, keep, limit_memory, make_input

MODULES = {
    "images": ("pictures",),
    "annotations": ("annotations",),
    "proposals": ("results",),
    "models": ("models",),
    "archives": ("archives",),
    "configurations": ("configurations",),
    "runs": ("runs",),
}
MOST_STARTS = 100
MOST_WAIT = 300.0  # seconds of the clock for one input, which may wait for others on a busy machine


def targets_of(part: str) -> list[Target]:
    return [target for name in MODULES[part] for target in importlib.import_module(f"torture.{name}").targets()]


def fuzz_here(targets: Sequence[Target], numbers: range, seed: int, folder: Path) -> list[Tally]:
    """Read the inputs with these numbers in this process, which has to survive them."""
    tallies = []
    for target in targets:
        tally = Tally(target.name)
        with tempfile.TemporaryDirectory() as place:
            case = target.prepare(Path(place))
            for number in numbers:
                data = make_input(case, target.name, seed, number)
                outcome, text = judge(case, data)
                tally.add(outcome)
                if outcome in KINDS[2:]:
                    keep(folder, f"{target.name}-{seed}-{number}", outcome, data, text)
        tallies.append(tally)
    return tallies


def fuzz(part: str, count: int, seed: int, until: float, folder: Path) -> list[Tally]:
    """Read `count` inputs of a part, its targets in turns, or as many as there is time for until `until`."""
    context = multiprocessing.get_context("spawn")
    shared = context.Array("d", [0.0, time.time(), 0.0] + [0.0] * (len(KINDS) * 100), lock=False)
    names, starts = context.SimpleQueue(), 0  # without a thread, which would die with the process
    current = folder / f"current-{part}"
    folder.mkdir(parents=True, exist_ok=True)
    known: list[str] = []
    while starts < MOST_STARTS and time.time() < until:
        shared[1] = time.time() + MOST_WAIT  # to import and prepare
        process = context.Process(target=_work, args=(part, count, seed, until, str(folder), shared, names))
        process.start()
        starts += 1
        while process.is_alive():
            process.join(0.5)
            if time.time() - shared[1] > MOST_WAIT:
                process.kill()
                process.join()
        known = names.get() if not names.empty() else known
        if process.exitcode == 0:
            break
        if process.exitcode == 1 or not known:
            raise RuntimeError(f"{part}: the fuzzer itself failed")
        index = int(shared[0])
        ended = f"exit code {process.exitcode}"
        slow = process.exitcode == -signal.SIGPROF or time.time() - shared[1] > MOST_WAIT
        kind = "over limit" if slow else "death"
        which = index % len(known)
        shared[3 + which * len(KINDS) + KINDS.index(kind)] += 1
        data = current.read_bytes() if current.is_file() else b""
        keep(folder, f"{known[which]}-{seed}-{index // len(known)}", kind, data, ended)
        shared[0] = index + 1
    current.unlink(missing_ok=True)
    width = len(KINDS)
    seconds = shared[2] / max(1, len(known))
    return [
        Tally(name, dict(zip(KINDS, map(int, shared[3 + i * width : 3 + (i + 1) * width]), strict=True)), seconds)
        for i, name in enumerate(known)
    ]


def _work(part: str, count: int, seed: int, until: float, folder: str, shared: Any, names) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    targets = targets_of(part)
    names.put([target.name for target in targets])
    limit_memory()
    place = Path(tempfile.mkdtemp(prefix="torture-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    current, width = Path(folder, f"current-{part}"), len(KINDS)
    try:
        cases = []
        for target in targets:
            own = place / target.name
            own.mkdir()
            cases.append(target.prepare(own))
        begun = time.time()
        for index in range(int(shared[0]), count):
            if time.time() > until:
                break
            which, number = index % len(targets), index // len(targets)
            data = make_input(cases[which], targets[which].name, seed, number)
            current.write_bytes(data)
            shared[0], shared[1] = index, time.time()
            signal.setitimer(signal.ITIMER_PROF, 2 * MOST_SECONDS)  # of the processor; then the signal ends the process
            outcome, text = judge(cases[which], data)
            signal.setitimer(signal.ITIMER_PROF, 0)
            shared[3 + which * width + KINDS.index(outcome)] += 1
            if outcome in KINDS[2:]:
                keep(Path(folder), f"{targets[which].name}-{seed}-{number}", outcome, data, text)
            shared[2] += time.time() - max(begun, shared[1])
    finally:
        shutil.rmtree(place, ignore_errors=True)
