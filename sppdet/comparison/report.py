"""The result of a comparison: a record, its JSON, and its table for the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sppdet.comparison.paper import TIMING
from sppdet.comparison.throughput import Throughput
from sppdet.comparison.timing import SUMS, Timings
from sppdet.drawing.tables import align, with_interval
from sppdet.evaluation.bootstrap import BootstrapMAP
from sppdet.files.atomic import json_ready
from sppdet.runtime.stopwatch import STAGES
from sppdet.wording import counted

NUMBERS = ("images", "regions", "baseline", "detectors", "growth", "speedup", "interrupted")
MIN_MAP_IMAGES = 100  # an mAP on fewer images means little


@dataclass(frozen=True)
class Comparison:
    """Detectors compared on the same images and regions; its text is the table, with the paper's figures.

    Mappings are by the detectors' names.

    Args:
        images, regions: number of images, and of regions per image.
        timings: seconds of each stage in each image.
        machine: device (cpu or cuda), machine (name of the processor or GPU), number of threads, version of torch.
        baseline: name of the detector that the others are compared with.
        detectors: settings that explain the times, such as network and precision.
        growth: seconds without proposals by number of regions.
        throughput: pace of R-CNN mode's convolutions; None without a detector in R-CNN mode.
        maps: mAP on the timed images of each trained detector; empty for fewer than MIN_MAP_IMAGES images.
        interrupted: Ctrl-C ended it; the images are those that were measured by then.
        folder: where the comparison was written, if it was.
    """

    images: int
    regions: int
    timings: Timings
    machine: Mapping[str, Any]
    baseline: str
    detectors: Mapping[str, Mapping[str, Any]]
    growth: Mapping[str, Mapping[int, float]]
    throughput: Throughput | None
    maps: Mapping[str, BootstrapMAP]
    interrupted: bool = False
    folder: str | None = None

    @property
    def others(self) -> list[str]:
        """Names of all detectors except the baseline."""
        return [name for name in self.detectors if name != self.baseline]

    @property
    def names(self) -> list[str]:
        """Names of all detectors, the baseline first."""
        return [self.baseline, *self.others]

    @property
    def speedup(self) -> dict[str, dict[str, float]]:
        """The baseline's median seconds divided by each other's, for conv, without_proposals and total."""
        medians, rows = self.timings.medians, ("conv", *SUMS)
        slow = medians[self.baseline]
        return {
            name: {row: slow[row] / medians[name][row] if medians[name][row] else float("nan") for row in rows}
            for name in self.others
        }

    @property
    def differences(self) -> dict[str, BootstrapMAP]:
        """The mAP of each other detector minus the baseline's, if both have one."""
        if self.baseline not in self.maps:
            return {}
        return {name: self.maps[name].minus(self.maps[self.baseline]) for name in self.others if name in self.maps}

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON: NaN becomes None, numbers of regions become text."""
        medians = self.timings.medians
        values = {
            **{key: getattr(self, key) for key in NUMBERS},
            **self.machine,
            "topped_up": self.timings.topped_up,
            "shared": self.timings.shared,
            "stages": {name: {row: rows[row] for row in STAGES} for name, rows in medians.items()},
            "totals": {name: {row: rows[row] for row in SUMS} for name, rows in medians.items()},
            "spread": self.timings.spread,
            "throughput": self.throughput.as_dict() if self.throughput else None,
            "maps": {name: value.as_dict() for name, value in self.maps.items()},
            "differences": {name: value.as_dict() for name, value in self.differences.items()},
            "paper": TIMING,
        }
        return json_ready(values)

    def __str__(self) -> str:
        parts = [
            _header(self),
            _stage_table(self),
            _speedup_table(self),
            _growth_table(self),
            _throughput_line(self),
            _map_table(self),
            f"Paper: {TIMING['source']}",
        ]
        text = "\n\n".join(part for part in parts if part)
        return f"{text}\nwritten to {self.folder}" if self.folder else text


def _header(comparison: Comparison) -> str:
    machine, timings = comparison.machine, comparison.timings
    lines = [f"{counted(comparison.images, 'image')}, {counted(comparison.regions, 'region')} each, the same for all"]
    if timings.topped_up:
        lines[0] += f" ({timings.topped_up} random boxes added in total, to images with too few proposals)"
    for name, settings in comparison.detectors.items():
        lines.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    for name, fraction in timings.shared.items():
        lines.append(f"{name}: {100 * fraction:.1f}% of the regions share their cells with another and are pooled once")
    where = counted(machine["threads"], "thread") if machine["device"] == "cpu" else machine["device"]
    lines.append(f"measured on {machine['machine']}, {where}, torch {machine['torch']}")
    return "\n".join(lines)


def _stage_table(comparison: Comparison) -> str:
    medians, spread = comparison.timings.medians, comparison.timings.spread
    rows = [["seconds per image: median [quartiles]", *comparison.names]]
    for row in (*STAGES, *SUMS):
        numbers = [[_number(value) for value in (medians[name][row], *spread[name][row])] for name in comparison.names]
        rows.append([row.replace("_", " "), *(f"{median} [{low}, {high}]" for median, low, high in numbers)])
    return align(rows)


def _speedup_table(comparison: Comparison) -> str:
    speedup = comparison.speedup
    header = [f"times faster than {comparison.baseline}", *speedup, "paper, 1 scale", "paper, 5 scales"]
    rows = {
        key: [key.replace("_", " "), *(_times(times[key]) for times in speedup.values())]
        for key in ("conv", "without_proposals", "total")
    }
    seconds = TIMING["seconds"]
    for scales in ("spp_1_scale", "spp_5_scales"):
        alex, zf5 = (seconds[rcnn]["conv"] / seconds[scales]["conv"] for rcnn in ("rcnn", "rcnn_zf5"))
        alex_total, zf5_total = TIMING["speedup"][scales], TIMING["speedup_zf5_both"][scales]
        rows["conv"].append(f"{_times(alex)} ({_times(zf5)})")
        rows["without_proposals"].append(f"{_times(alex_total)} ({_times(zf5_total)})")
        rows["total"].append("-")
    return align([header, *rows.values()]) + "\nIn brackets: the same network, ZF-5, in both detectors."


def _growth_table(comparison: Comparison) -> str:
    if not comparison.growth:
        return ""
    counts = list(comparison.growth[comparison.baseline])
    rows = [["seconds by regions, no proposals", *map(str, counts)]]
    rows += [[name, *(_number(comparison.growth[name][count]) for count in counts)] for name in comparison.names]
    return align(rows)


def _throughput_line(comparison: Comparison) -> str:
    pace = comparison.throughput
    if pace is None:
        return ""
    return (
        f"Crops per second, without warping: {pace.detector} {_number(pace.crops_per_second)}, bare network"
        f" {_number(pace.bare_crops_per_second)} at its best batch size, {pace.bare_best_batch}: ratio {pace.ratio:.3f}"
    )


def _map_table(comparison: Comparison) -> str:
    paper = TIMING["map_voc07"]
    figures = f"{paper['spp_1_scale']:.1%} with 1 scale, {paper['spp_5_scales']:.1%} with 5, R-CNN {paper['rcnn']:.1%}"
    if not comparison.maps:
        few = comparison.images < MIN_MAP_IMAGES
        return f"mAP: needs {MIN_MAP_IMAGES} images; these are {comparison.images}" if few else ""
    rows = [["mAP on these images, % (95%)", "VOC07", "area", f"points to {comparison.baseline}"]]
    for name, result in comparison.maps.items():
        difference = comparison.differences.get(name)
        points = "-" if difference is None else with_interval(difference.map_voc07, difference.interval_voc07, "+")
        area = with_interval(result.map_area, result.interval_area)
        rows.append([name, with_interval(result.map_voc07, result.interval_voc07), area, points])
    return f"{align(rows)}\nPaper, all of VOC2007: SPPnet {figures}"


def _number(value: float) -> str:
    """Format with three digits, without an exponent."""
    if value != value:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2 if value >= 1 else 4}f}"


def _times(value: float) -> str:
    return "-" if value != value else f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"
