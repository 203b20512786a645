"""Times of contestants that take turns in one run, so that a drift in the speed of the machine affects all alike."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmark.threads import thread_counts, thread_label, using_threads
from sppdet.comparison import timing
from sppdet.errors import InputError
from sppdet.runtime.stopwatch import wait_for_device

# A contestant: called with the number of the round, returns the seconds it took.
Run = Callable[[int], float]

# By name of the ratio: the contestant whose seconds are the numerator, and that of the denominator.
Ratios = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant per round; first_call_s: seconds of the warm-up call, including compilation."""

    first_call_s: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON output, in seconds."""
        return {
            "median_s": self.median,
            "quartiles_s": self.quartiles,
            "rounds": len(self.seconds),
            "first_call_s": self.first_call_s,
        }


@dataclass(frozen=True)
class Row:
    """Timings by contestant and their ratios by name, measured with one number of threads."""

    threads: int
    timings: Mapping[str, Timing]
    ratios: dict[str, float]

    @property
    def label(self) -> str:
        return thread_label(self.threads)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON output."""
        timings = {name: timing.as_dict() for name, timing in self.timings.items()}
        return {"threads": self.threads, **self.ratios, "seconds": timings}


@dataclass(frozen=True)
class Line:
    """Least-squares fit seconds = intercept + slope * size; residual: root mean square divided by the mean seconds."""

    slope: float
    intercept: float
    residual: float


@dataclass(frozen=True)
class Growth:
    """Median seconds by contestant at each input size, in `unit`s."""

    unit: str
    sizes: tuple[int, ...]
    seconds: Mapping[str, tuple[float, ...]]

    @property
    def lines(self) -> dict[str, Line]:
        return {name: fit_line(self.sizes, values) for name, values in self.seconds.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON output."""
        lines = self.lines
        curves = {name: {"seconds": values} | asdict(lines[name]) for name, values in self.seconds.items()}
        return {"sizes": self.sizes, "curves": curves}


@dataclass(frozen=True)
class Part:
    """One part of the benchmark.

    rows: one per number of threads, ascending; the ratios of the last are those of the part. growth: measured with the
    largest number of threads. facts: further entries of the JSON output.
    """

    rows: Sequence[Row]
    growth: Sequence[Growth]
    facts: Mapping[str, Any]

    @property
    def ratios(self) -> Mapping[str, float]:
        return self.rows[-1].ratios

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON output, ratios first."""
        rows = [row.as_dict() for row in self.rows]
        growth = {each.unit: each.as_dict() for each in self.growth}
        return {**self.ratios, **self.facts, "rows": rows, "growth": growth}


def clocked(work: Callable[[], object], calls: int = 1) -> Run:
    """Return a contestant that times `work`, without the time to free its result; on CUDA until the device is done.

    calls: number of calls in a row, of which the mean counts: a GPU begins the next while it works on one.
    """

    def run(_turn: int) -> float:
        wait_for_device()
        start = time.perf_counter()
        for _ in range(calls):
            result = work()
        wait_for_device()
        seconds = (time.perf_counter() - start) / calls
        del result
        return seconds

    return run


def clock_all(work: Mapping[str, Callable[[], object]], calls: int = 1) -> dict[str, Run]:
    """Return contestants that time each function."""
    return {name: clocked(function, calls) for name, function in work.items()}


def take_turns(runs: Mapping[str, Run], rounds: int, label: str = "benchmark") -> dict[str, Timing]:
    """Warm up with one call each, then time the contestants in `rounds` rounds, starting each round with another one.

    Raises InputError for less than one round.
    """
    if rounds < 1:
        raise InputError("nothing to measure", field="rounds", expected="1 or more", got=rounds)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn, names in tqdm(timing.take_turns(runs, rounds), desc=label, unit="round"):
        for name in names:
            seconds[name].append(runs[name](max(turn, 0)))
    return {name: Timing(first, tuple(values)) for name, (first, *values) in seconds.items()}


def take_staged_turns(
    runs: Mapping[str, Callable[[int], Mapping[str, float]]], rounds: int, label: str
) -> tuple[dict[str, Timing], dict[str, dict[str, Timing]]]:
    """Run `take_turns` on contestants that return seconds by stage. Return the timings of the sums by contestant, and
    those of the stages by contestant and stage."""
    taken: dict[str, list[Mapping[str, float]]] = {name: [] for name in runs}

    def run(name: str, turn: int) -> float:
        taken[name].append(runs[name](turn))
        return sum(taken[name][-1].values())

    sums = take_turns({name: partial(run, name) for name in runs}, rounds, label)
    stages = {
        name: {stage: Timing(first[stage], tuple(each[stage] for each in others)) for stage in first}
        for name, (first, *others) in taken.items()
    }
    return sums, stages


def add_timings(*timings: Timing) -> Timing:
    """Return the sum of the timings in each round."""
    seconds = zip(*(each.seconds for each in timings), strict=True)
    return Timing(sum(each.first_call_s for each in timings), tuple(map(sum, seconds)))


def measure_growth(unit: str, sizes: Iterable[int], runs_at: Callable[[int], Mapping[str, Run]], rounds: int) -> Growth:
    """Return the medians of `take_turns` on `runs_at(size)`, the contestants at each size, ascending."""
    timings = {size: take_turns(runs_at(size), rounds, f"{size} {unit}") for size in sorted(set(sizes))}
    names = next(iter(timings.values()))
    return Growth(unit, tuple(timings), {name: tuple(each[name].median for each in timings.values()) for name in names})


def measure_part(
    threads: Sequence[int] | None,
    ratios: Ratios,
    measure: Callable[[int], Mapping[str, Timing]],
    conclude: Callable[[], tuple[Sequence[Growth], Mapping[str, Any]]],
) -> Part:
    """Time the contestants of a part with each number of threads, then measure its growth with the largest.

    Args:
        threads: numbers of threads; None: one and all.
        ratios: ratios to work out for each number of threads.
        measure: returns timings by contestant; called with the number of threads, which is set meanwhile.
        conclude: returns the growth and further facts; called last, with the largest number of threads set.
    """
    rows = []
    for count in thread_counts(threads):
        with using_threads(count):
            timings = measure(count)
        rows.append(Row(count, timings, find_ratios(timings, ratios)))
    with using_threads(rows[-1].threads):
        return Part(rows, *conclude())


def median_ratio(over: Timing, under: Timing) -> float:
    """Return the median over the rounds of the ratio of two contestants' seconds in the same round."""
    return float(np.median(np.divide(over.seconds, under.seconds)))


def find_ratios(timings: Mapping[str, Timing], ratios: Ratios) -> dict[str, float]:
    """Return the ratios by name; NaN if one of the two contestants was not measured."""
    return {
        name: median_ratio(timings[over], timings[under]) if over in timings and under in timings else float("nan")
        for name, (over, under) in ratios.items()
    }


def fit_line(sizes: Sequence[float], seconds: Sequence[float]) -> Line:
    """Fit a line through the points; NaN for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return Line(float("nan"), float("nan"), float("nan"))
    x, y = np.asarray(sizes, float), np.asarray(seconds, float)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    intercept = float(y.mean() - slope * x.mean())
    return Line(slope, intercept, float(np.sqrt(np.mean((y - intercept - slope * x) ** 2)) / y.mean()))
