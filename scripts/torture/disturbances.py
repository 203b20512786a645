"""Kills, failing disks and processes at once, each part with what it has to end in."""

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torture.tally import Tally
from torture.trainings import (
    ERRORS,
    Undisturbed,
    compare,
    fail_from,
    files_of,
    finish,
    kill_at,
    limit_files,
    report,
    small_disk,
    start,
)

PROCESSES = 8
Trainings = Sequence[Undisturbed]


def kill(trainings: Trainings, count: int, seed: int, until: float, folder: Path) -> list[Tally]:
    """SIGKILL at renames, other calls and random times, twice in some runs, and resume each run to its end."""
    rng, tallies = random.Random(seed), []
    for i, each in enumerate(trainings):
        tally, begun = Tally(f"kills-{each.name}"), time.time()
        share = time.time() + (until - time.time()) / (len(trainings) - i)
        for moment in _moments(each, -(-count // len(trainings)), rng):
            if time.time() > share:
                break
            report(tally, folder, _kill_and_resume(each, moment, rng))
        tally.seconds = time.time() - begun
        tallies.append(tally)
    return tallies


def _moments(each: Undisturbed, count: int, rng: random.Random) -> list[int | None]:
    """Calls at which a run is killed, in random order: renames first; None: at a random time."""
    renames = [i for i, call in enumerate(each.calls) if call.startswith("replace")]
    others = [i for i, call in enumerate(each.calls) if not call.startswith("replace")]
    chosen: list[int | None] = [*rng.sample(renames, min(len(renames), count * 3 // 5))]
    chosen += rng.sample(others, min(len(others), count // 5))
    return [*chosen, *[None] * (count - len(chosen))]


def _kill_and_resume(each: Undisturbed, moment: int | None, rng: random.Random) -> str:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        run, cache, log = place / "run", place / "cache", place / "log"
        for index in [moment, *([rng.randrange(40)] if rng.randrange(3) == 0 else [])]:
            child = start(each.arguments(run), cache, log, kill_at(index) if index is not None else lambda: None)
            code = finish(child, 300 if index is not None else rng.uniform(0, 1.2 * each.seconds))
            if code not in (0, -signal.SIGKILL):
                return f"at {index}: exit code {code}: {log.read_text()[-2000:]}"
        wrong = each.resume(run, cache, log)
        left = [str(path) for path in place.rglob(".sppdet-tmp-*")]
        return (wrong and f"killed at {moment}: {wrong}") or (
            f"killed at {moment}: left {left}" if _stale(left, run) else ""
        )


def _stale(left: Sequence[str], run: Path) -> bool:
    """Leftovers in the run's own folder are gone once it is finished; those of a cache when it is next written to."""
    return any(path.startswith(f"{run}/.sppdet-tmp-") for path in left)


def starve(trainings: Trainings, count: int, seed: int, until: float, folder: Path) -> list[Tally]:
    """Calls that fail, files that may not grow, and disks that fill: one line, and a run that goes on afterwards."""
    rng, tallies = random.Random(seed), []
    jobs = [(each, way) for each in trainings for way in (_failing_call, _small_files, _full_disk)]
    for i, (each, fail) in enumerate(jobs):
        tally, begun = Tally(f"writes-{each.name}{fail.__name__.replace('_', '-')}"), time.time()
        share = time.time() + (until - time.time()) / (len(jobs) - i)
        for _ in range(-(-count // len(jobs))):
            if time.time() > share:
                break
            with tempfile.TemporaryDirectory() as own:
                report(tally, folder, fail(each, Path(own), rng))
        tally.seconds = time.time() - begun
        tallies.append(tally)
    return tallies


def _failing_call(each: Undisturbed, place: Path, rng: random.Random) -> str:
    run, cache, log = place / "run", place / "cache", place / "log"
    index, number, once = 1 + rng.randrange(len(each.calls) // 2), rng.choice(ERRORS), rng.randrange(2) == 0
    code = finish(start(each.arguments(run), cache, log, fail_from(index, number, once)))
    wrong = _one_line(code, log) or each.resume(run, cache, log)
    return wrong and f"call {index} error {number} {'once' if once else 'on'}: {wrong}"


def _small_files(each: Undisturbed, place: Path, rng: random.Random) -> str:
    run, cache, log = place / "run", place / "cache", place / "log"
    size = int(2 ** rng.uniform(4, 20))
    code = finish(start(each.arguments(run), cache, log, limit_files(size)))
    wrong = _one_line(code, log) or each.resume(run, cache, log)
    return wrong and f"files up to {size} bytes: {wrong}"


def _full_disk(each: Undisturbed, place: Path, rng: random.Random) -> str:
    """The run, the cache or both on a disk of up to 2 MB; what was written is then copied to a larger one."""
    size, log = int(2 ** rng.uniform(14, 21)), place / "log"
    with small_disk(place / "disk", size) as mounted:
        if not mounted:
            return _small_files(each, place, rng)
        run = place / rng.choice(("disk", ".")) / "run"
        cache = (place / "disk" if run.parent.name != "disk" or rng.randrange(2) else place) / "cache"
        code = finish(start(each.arguments(run), cache, log))
        wrong = _one_line(code, log)
        for source, name in ((run, "run-2"), (cache, "cache-2")):
            if source.exists():
                shutil.copytree(source, place / name)
    wrong = wrong or each.resume(place / "run-2", place / "cache-2", log)
    return wrong and f"disk of {size} bytes: {wrong}"


def _one_line(code: int, log: Path) -> str:
    """A command that fails exits with 1, after one line of an error; it may succeed all the same."""
    text = log.read_text()
    lines = [line for line in text.splitlines() if line.startswith("sppdet: error:")]
    fine = code == 0 or (code == 1 and len(lines) == 1)
    return "" if fine and "Traceback" not in text else f"exit code {code}: {text[-2000:]}"


def crowd(trainings: Trainings, count: int, seed: int, _until: float, folder: Path) -> list[Tally]:
    """`count` processes at once, one of which is killed: on one cold cache, on one run, and with two configurations."""
    rng, tallies = random.Random(seed), []
    for each in trainings:
        for test in (_one_cache, _one_run, _two_configurations):
            tally, begun = Tally(f"processes-{each.name}{test.__name__.replace('_', '-')}"), time.time()
            with tempfile.TemporaryDirectory() as own:
                for wrong in test(each, Path(own), max(2, min(count, PROCESSES)), rng):
                    report(tally, folder, wrong)
            tally.seconds = time.time() - begun
            tallies.append(tally)
    return tallies


def _one_cache(each: Undisturbed, place: Path, count: int, rng: random.Random) -> list[str]:
    """Runs of their own that share a cold cache; one is killed."""
    children = [start(each.arguments(place / str(i)), place / "cache", place / f"{i}.log") for i in range(count)]
    codes = _finish_all(children, rng.uniform(0, each.seconds))
    return [_judge_end(each, place / str(i), place / f"{i}.log", code, i == 0) for i, code in enumerate(codes)]


def _one_run(each: Undisturbed, place: Path, count: int, rng: random.Random) -> list[str]:
    """The same run in all; the first, which holds it, is killed."""
    children = [start(each.arguments(place / "run"), place / "cache", place / f"{i}.log") for i in range(count)]
    codes = _finish_all(children, rng.uniform(0, each.seconds))
    return [_judge_end(each, place / "run", place / f"{i}.log", code, i == 0) for i, code in enumerate(codes)]


def _two_configurations(each: Undisturbed, place: Path, count: int, rng: random.Random) -> list[str]:
    """Half of the processes have another seed: they are refused, or those of the first seed are."""
    order = [i % 2 for i in range(count)]
    rng.shuffle(order)
    arguments = (each.arguments(place / "run"), [*each.arguments(place / "run"), "--seed", "1"])
    children = [start(arguments[which], place / "cache", place / f"{i}.log") for i, which in enumerate(order)]
    codes = [finish(child) for child in children]
    ends = {which: {code for code, one in zip(codes, order, strict=True) if one == which} for which in (0, 1)}
    wrong = "" if sorted(map(sorted, ends.values())) == [[0], [1]] else f"exit codes {ends}"
    if not wrong and ends[0] == {0}:
        wrong = compare(place / "run", each.files)
    elif not wrong:
        code = finish(start([*each.arguments(place / "alone"), "--seed", "1"], place / "cache", place / "log"))
        wrong = f"exit code {code}" if code else compare(place / "run", files_of(place / "alone"))
    lines = [_one_line(code, place / f"{i}.log") for i, code in enumerate(codes)]
    return [line or wrong for line in lines]


def _finish_all(children: Sequence[int], kill_after: float) -> list[int]:
    """Wait for all; the first is killed after some seconds, if it is not finished."""
    return [finish(children[0], kill_after), *(finish(child) for child in children[1:])]


def _judge_end(each: Undisturbed, run: Path, log: Path, code: int, killed: bool) -> str:
    if killed and code == -signal.SIGKILL:
        return ""
    return f"exit code {code}: {log.read_text()[-2000:]}" if code else compare(run, each.files)


PARTS: dict[str, Callable[..., list[Tally]]] = {"kills": kill, "writes": starve, "processes": crowd}
