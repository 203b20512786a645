"""The command line: the parts one after another, and a table. Exit code 1 if anything is lost."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torture.tally import Tally, format_table
from torture.target import judge
from torture.worker import MODULES, fuzz, targets_of

if TYPE_CHECKING:
    from torture.trainings import Undisturbed

GOALS = {
    **{"images": 20_000, "annotations": 40_000, "proposals": 60_000, "models": 5_000},
    **{"archives": 5_000, "configurations": 5_000, "runs": 1_000},
    **{"kills": 100, "writes": 100, "processes": 8},
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="torture.py", description="Fuzz, kill and starve sppdet.")
    parser.add_argument("--minutes", type=float, default=60, help="limit of all parts together")
    parser.add_argument("--only", default=",".join(GOALS), help=f"parts, with commas: {','.join(GOALS)}")
    parser.add_argument("--share", type=float, default=1, help="fraction of the usual number of inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/torture"), help="folder of the offending inputs")
    parser.add_argument("--replay", type=Path, help="an offending input, which is read once more")
    options = parser.parse_args(arguments)
    if options.replay:
        return replay(options.replay)
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(GOALS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}")
    tallies: dict[str, list[Tally]] = {}
    end = time.time() + 60 * options.minutes
    trainings: Sequence[Undisturbed] = ()
    with tempfile.TemporaryDirectory() as place:
        for i, part in enumerate(chosen):
            until = time.time() + (end - time.time()) / (len(chosen) - i)  # what a part leaves is the next one's
            count = max(1, round(GOALS[part] * options.share))
            if part in MODULES:
                tallies[part] = fuzz(part, count, options.seed, until, options.output)
            else:
                from torture.disturbances import PARTS
                from torture.trainings import undisturbed

                trainings = trainings or list(undisturbed(Path(place)))
                tallies[part] = PARTS[part](trainings, count, options.seed, until, options.output)
            print(format_table({part: tallies[part]}), flush=True)
    print("\n" + format_table(tallies))
    lost = sum(tally.lost for each in tallies.values() for tally in each)
    if lost:
        print(f"torture: {lost} lost; inputs in {options.output}", file=sys.stderr)
    return 1 if lost else 0


def replay(file: Path) -> int:
    """Read an input of `keep`, whose name begins with that of its target, in this process."""
    name = file.name.rsplit("-", 2)[0]
    (target,) = (each for part in MODULES for each in targets_of(part) if each.name == name)
    with tempfile.TemporaryDirectory() as place:
        outcome, text = judge(target.prepare(Path(place)), file.read_bytes())
    print(outcome, text, sep="\n")
    return 0 if outcome in ("refused", "accepted") else 1
