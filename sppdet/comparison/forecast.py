"""What a training of another size takes, from what finished runs recorded: a line through the seconds of each stage."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from sppdet.config.training import BASE_GB
from sppdet.drawing.tables import align, percent
from sppdet.files.metrics import Row
from sppdet.wording import counted

# In their order. One that is divided takes each of several nodes its part of the images or classes.
DIVIDED = {
    "check of the data": False,
    "proposals": True,
    "features": True,
    "fine-tuning": True,
    "first examples": True,
    "hard negatives": True,  # until the room for examples is full
    "other heads": True,  # box regression, softmax
    "held-out images": True,
}
SIZES = {
    "memory": "of memory a process",
    "disk": "of disk for features",
    "network": "over the network in all, at most",
    "evaluation": "of memory to evaluate the held-out images",
}
IMAGE_GB, DETECTION_GB = 7e-6, 5e-7  # memory of an image's annotations, and of a detection while its class is evaluated


@dataclass(frozen=True)
class Measured:
    """What a training recorded. images: all of it. seconds: by stage. disk_gb: of features of all images, None if they
    were cached before. detections: in the held-out images, of the class with most, None if it is not known. examples:
    the most that SVMs were fitted to, None without SVMs."""

    images: int
    seconds: Mapping[str, float]
    memory_gb: float
    disk_gb: float | None
    detections: int | None
    examples: int | None = None

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> "Measured":
        """Read the rows of a run of one process that was not interrupted.

        Stages whose results were mostly cached before are left out: they say nothing about the time.
        """
        rows = list(rows)
        images = max((int(row.get("examples") or 0) for row in rows if row["kind"] != "refit"), default=0)
        examples = max((int(row["examples"]) for row in rows if row["kind"] == "refit"), default=None)
        seconds = defaultdict[str, float](float)
        computed, disk, detections = images, 0.0, None
        for row in rows:
            stage = _stage_of(row)
            spent = float(row["seconds"])
            if stage == "proposals":
                checked = min(spent, float(row.get("check_seconds") or 0))
                seconds["check of the data"] += checked
                spent = _of_all(spent - checked, row.get("computed", images), images)
            if stage == "held-out images":
                detections = row.get("most")
            seconds[stage] += spent
        features = [row for row in rows if row["kind"] == "features"]
        if features and all("computed" in row for row in features):
            computed = max(int(row["computed"]) for row in features)
            disk = sum(float(row["written_gb"]) for row in features)
        seconds["features"] = _of_all(seconds["features"], computed, images)
        known = {stage: spent for stage, spent in seconds.items() if spent > 0}
        memory = max((float(row.get("memory_gb") or 0) for row in rows), default=0.0)
        disk_of_all = disk * images / computed if disk and computed else None
        return cls(images, known, memory, disk_of_all, detections, examples)


def _stage_of(row: Row) -> str:
    step, kind = row["step"], row["kind"]
    if kind == "refit":
        return "first examples" if row["number"] == 1 else "hard negatives"
    if kind in ("features", "epoch"):
        return {"features": "features", "epoch": "fine-tuning"}[kind]
    return {"proposals": "proposals", "val": "held-out images"}.get(step, "other heads")


def _of_all(seconds: float, computed: int, images: int) -> float:
    """Return the seconds for all images if at least half of them were computed, else 0: not known."""
    return seconds * images / computed if computed >= images / 2 and images else 0.0


@dataclass(frozen=True)
class Line:
    """value = start + slope * images. residual: the largest relative distance of a measurement; None for one or two."""

    start: float
    slope: float
    residual: float | None

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> "Line":
        """Fit a line with start and slope at least 0, by relative distances; through the origin for points of one size.

        points: sizes and values above 0.
        """
        sizes, values = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
        columns = np.stack([np.ones_like(sizes), sizes], axis=1)
        if len(set(sizes.tolist())) == 1:
            columns[:, 0] = 0
        scaled = columns / values[:, None]
        size = np.maximum(np.linalg.norm(scaled, axis=0), 1e-300)
        (start, slope), _ = nnls(scaled / size, np.ones_like(values))
        start, slope = start / size[0] * (columns[0, 0] > 0), slope / size[1]
        distance = abs(columns @ [start, slope] / values - 1).max()
        return cls(float(start), float(slope), float(distance) if len(points) > 2 else None)

    def at(self, images: float) -> float:
        return self.start + self.slope * images


@dataclass(frozen=True)
class Forecast:
    """A training of `images` images on `nodes` machines like the one measured. Sizes in GB, bounds included.

    lines: seconds by stage on one machine. most: images beyond which a stage takes no longer, by the stage. breaks:
    numbers of images from which on something is exceeded, by its name.
    """

    images: int
    nodes: int
    lines: Mapping[str, Line]
    most: Mapping[str, float]
    sizes: Mapping[str, float]
    breaks: Mapping[str, float]
    notes: Sequence[str]

    @property
    def hours(self) -> dict[str, float]:
        """Hours by stage; those that are divided take the fraction of a node."""
        images = {stage: min(self.images, self.most.get(stage, self.images)) for stage in self.lines}
        alone = {stage: line.at(images[stage]) / 3600 for stage, line in self.lines.items()}
        return {stage: hours / (self.nodes if DIVIDED[stage] else 1) for stage, hours in alone.items()}

    @property
    def bottleneck(self) -> str:
        return max(self.hours, key=lambda stage: self.hours[stage])

    @property
    def first_break(self) -> str | None:
        """What is exceeded with the fewest images, of what would be with these."""
        passed = {name: number for name, number in self.breaks.items() if number < self.images}
        return min(passed, key=lambda name: passed[name]) if passed else None

    def as_dict(self) -> dict[str, Any]:
        stages = {
            stage: {
                "hours": self.hours[stage],
                "start_seconds": line.start,
                "seconds_per_image": line.slope,
                "residual": line.residual,
                "divided": DIVIDED[stage],
            }
            for stage, line in self.lines.items()
        }
        values = {"images": self.images, "nodes": self.nodes, "hours": sum(self.hours.values()), "stages": stages}
        return {
            **values,
            "bottleneck": self.bottleneck,
            **{f"{name}_gb": size for name, size in self.sizes.items()},
            "breaks": dict(self.breaks),
            "first_break": self.first_break,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        rows = [["stage", "hours", "seconds per image", "residual"]]
        for stage, line in self.lines.items():
            residual = "" if line.residual is None else f"±{percent(line.residual)}"
            rows.append([stage, f"{self.hours[stage]:.3g}", f"{line.slope:.3g}", residual])
        total = sum(self.hours.values())
        rows.append(["all", f"{total:.3g}", "", ""])
        rows = rows if any(row[3] for row in rows[1:]) else [row[:3] for row in rows]
        share = percent(self.hours[self.bottleneck] / total)
        lines = [
            f"{counted(self.images, 'image')} on {counted(self.nodes, 'node')}",
            align(rows),
            f"bottleneck: {self.bottleneck}, {share} of the time",
            ", ".join(f"{size:.3g} GB {SIZES[name]}" for name, size in self.sizes.items()),
        ]
        if first := self.first_break:
            lines.append(f"breaks first: {first}, from about {float(f'{self.breaks[first]:.2g}'):,.0f} images on")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def forecast(
    runs: Sequence[Measured],
    images: int,
    nodes: int,
    memory_gb: float,
    cache_gb: float,
    passes: int,
    max_examples: int,
) -> Forecast:
    """Predict the cost of a training from runs with the same settings, of one or, better, several sizes.

    memory_gb, cache_gb, max_examples: the bounds of the training. passes: how often mining reads the features of an
    image. Mining ends once the room for examples is full, so hard negatives take at least the time until then.
    """
    lines = {}
    for stage in DIVIDED:
        points = [(run.images, run.seconds[stage]) for run in runs if stage in run.seconds]
        if points:
            lines[stage] = Line.through(points)
    notes = []
    if len({run.images for run in runs}) == 1:
        notes.append("runs of one size: seconds are taken as proportional to the images; a run of another size tells")
    if lost := [stage for stage in ("proposals", "features") if stage not in lines]:
        notes.append(f"{' and '.join(lost)} were cached before: their time is not known")
    still = [stage for stage, line in lines.items() if not line.slope]
    if still:
        reason = "seconds did not grow with the images, of which compiling may be the cause: give larger runs"
        notes.append(f"{', '.join(still)}: {reason}")
    if images > 100 * max(run.images for run in runs):
        notes.append("over 100 times the largest run: a guess")
    largest = max(run.memory_gb for run in runs)
    start = [(0.0, min(BASE_GB, largest / 2))] if len({run.images for run in runs}) == 1 else []
    memory = Line.through([*start, *((run.images, run.memory_gb) for run in runs)])
    examples = _line([(run.images, run.examples) for run in runs])
    filled = [run.images for run in runs if (run.examples or 0) >= max_examples]
    full = min([_reaches(memory, memory_gb), _reaches(examples, max_examples) if examples else float("inf"), *filled])
    disk = _line([(run.images, run.disk_gb) for run in runs])
    found = _line([(run.images, run.detections) for run in runs])
    features = disk.at(images) if disk else 0.0
    sizes = {"memory": IMAGE_GB * images + max(largest, memory.at(min(images, full))), "disk": features}
    reads = 3 + passes  # first examples, each pass, box regression, and held-out images or the final fit
    sizes["network"] = features * reads * (1 - 1 / nodes) + (memory_gb * (nodes - 1) if nodes > 1 else 0.0)
    breaks = {"the room for examples (memory_gb, svm.max_examples), of which then a choice is kept": full}
    if disk:
        breaks["the disk of the features (cache_gb)"] = _reaches(disk, cache_gb)
    if found:
        breaks["evaluation of the held-out images in memory_gb"] = memory_gb / max(DETECTION_GB * found.slope, 1e-30)
        sizes["evaluation"] = DETECTION_GB * found.at(images)
    breaks["the list of images in memory_gb"] = memory_gb / IMAGE_GB
    return Forecast(images, nodes, lines, {"hard negatives": full}, sizes, breaks, notes)


def _line(points: Sequence[tuple[int, float | None]]) -> Line | None:
    known = [(size, value) for size, value in points if value]
    return Line.through(known) if known else None


def _reaches(line: Line, bound: float) -> float:
    return max(0.0, (bound - line.start) / line.slope) if line.slope else float("inf")
