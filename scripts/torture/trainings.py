"""Trainings that are killed, that meet failing disks, and that run at once; all have to come to the same files.

Each is a command in a forked child of this process, which has imported everything.
"""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from data_sets import write_image
from factories import train_arguments

from sppdet.cli import main
from sppdet.shapes.dataset import generate_shapes
from torture.tally import Tally

CALLS = ("replace", "fsync", "mkdir", "rmdir", "unlink", "chmod")  # of os, all around which a process may end
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)
# Files of a run that say how long it took, or where it is.
OTHERS = ("README.md", "training.json", "config.json", "metrics.jsonl", "results.csv")
MOST_SECONDS = 300


def commands(place: Path) -> dict[str, Callable[[Path], list[str]]]:
    """The trainings by name: a function of the folder of the run, for data that are made in `place`."""
    if not (place / "shapes").is_dir():
        generate_shapes(place / "shapes", train=6, test=1)
        for i, name in enumerate("aabbab"):
            write_image(place / f"crops/{name}/{i}.png")

    def svm(run: Path) -> list[str]:
        arguments = train_arguments(place, run)
        arguments[arguments.index("--backbone.weights") + 1] = "random"
        return arguments

    tuned = ("--head", "softmax", "--finetune.epochs", "2", "--finetune.blocks", "1")
    classify = [
        *("classify", "train", "--data.train", str(place / "crops"), "--backbone.name", "shapenet"),
        *("--backbone.weights", "random", "--pyramid.levels", "[2,1]", "--sizes", "[32,40]", "--fit.epochs", "3"),
    ]
    return {
        "svm": svm,
        "finetune": lambda run: [*svm(run), *tuned],
        "classifier": lambda run: [*classify, "--output", str(run)],
    }


def start(arguments: Sequence[str], cache: Path, log: Path, disturb: Callable[[], object] = lambda: None) -> int:
    """Start a command in a child process, which calls `disturb` first; return its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which do nothing here
        child = os.fork()
    if child:
        return child
    code = 70
    try:
        sys.stdout = sys.stderr = log.open("w", buffering=1, errors="backslashreplace")
        os.dup2(sys.stderr.fileno(), 2)
        os.environ["SPPDET_CACHE"] = str(cache)
        disturb()
        code = main(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(child: int, seconds: float = MOST_SECONDS) -> int:
    """Wait for a child. Return its exit code, or the negative signal that ended it: -9 if it took too long."""
    end = time.time() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.time() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.01)


def before_and_after(act: Callable[[str, str], None]) -> None:
    """Call `act` with the name of each call of CALLS, and "before" or "after"."""
    for name in CALLS:
        original = getattr(os, name)

        def call(*arguments, name=name, original=original, **options):
            act(name, "before")
            result = original(*arguments, **options)
            act(name, "after")
            return result

        setattr(os, name, call)


def files_of(run: Path) -> dict[str, bytes]:
    """The files of a run that have to be the same, however it came to them."""
    found = (file for file in run.rglob("*") if file.is_file() and file.name not in OTHERS)
    return {
        str(file.relative_to(run)): file.read_bytes() for file in found if ".sppdet" not in file.relative_to(run).parts
    }


def compare(run: Path, expected: dict[str, bytes]) -> str:
    """Return what differs from the undisturbed run, and leftovers; empty if nothing does."""
    found = files_of(run)
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return f"other {', '.join(names)}" if names else ""


class Undisturbed:
    """A training that nothing disturbs: its files, the calls that it makes, and its seconds."""

    def __init__(self, place: Path, name: str, arguments: Callable[[Path], list[str]]) -> None:
        self.name, self.arguments, self.place = name, arguments, place
        calls, begun = place / f"{name}.calls", time.time()

        def record() -> None:
            file = calls.open("w", buffering=1)
            before_and_after(lambda call, when: file.write(f"{call} {when}\n"))

        run = place / f"{name}-undisturbed"
        code = finish(start(arguments(run), place / f"{name}-cold", place / f"{name}.log", record))
        if code:
            raise RuntimeError((place / f"{name}.log").read_text())
        self.seconds = time.time() - begun
        self.calls, self.files = calls.read_text().splitlines(), files_of(run)

    def resume(self, run: Path, cache: Path, log: Path) -> str:
        """Go on with a disturbed run. Return what is wrong with it, if anything is."""
        code = finish(start(self.arguments(run), cache, log))
        if code == -signal.SIGKILL:
            return f"took more than {MOST_SECONDS} s"
        return f"exit code {code}: {log.read_text()[-2000:]}" if code else compare(run, self.files)


def undisturbed(place: Path, names: Sequence[str] | None = None) -> Iterator[Undisturbed]:
    """The trainings with these names, or all; each is made once in this process, which then has imported everything."""
    for name, arguments in commands(place).items():
        if names is not None and name not in names:
            continue
        with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w") as nothing:
            patch.setenv("SPPDET_CACHE", str(place / "warm"))
            with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
                main(arguments(place / f"{name}-warm"))
        yield Undisturbed(place, name, arguments)


def end_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_from(index: int, number: int, once: bool) -> Callable[[], None]:
    """Let the call with this index fail, and, unless only once, those after it, as a full disk does."""

    def disturb() -> None:
        count = [0]

        def act(_call: str, when: str) -> None:
            count[0] += when == "before"
            if when == "before" and (count[0] == index or (count[0] > index and not once)):
                raise OSError(number, os.strerror(number))

        before_and_after(act)

    return disturb


def kill_at(index: int) -> Callable[[], None]:
    """SIGKILL at the moment with this index, each before or after a call of CALLS."""

    def disturb() -> None:
        left = [index]

        def act(_call: str, _when: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                end_self()

        before_and_after(act)

    return disturb


def limit_files(size: int) -> Callable[[], None]:
    """Let no file become larger: writing goes on until it fails, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system in memory of this size in a new folder, where that is allowed; False elsewhere."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def report(tally: Tally, folder: Path, wrong: str, kind: str = "wrong") -> None:
    """Count an attempt, and say what was lost."""
    tally.add(kind if wrong else "accepted")
    if wrong:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{tally.name}.txt").open("a") as file:
            file.write(f"{tally.tried}: {wrong}\n")
