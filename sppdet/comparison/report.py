"""What a comparison found: as a record, as JSON, and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sppdet.comparison.throughput import Throughput
from sppdet.comparison.timing import SUMS
from sppdet.drawing.tables import align
from sppdet.evaluation.bootstrap import BootstrapMAP
from sppdet.files.atomic import json_ready
from sppdet.runtime.stopwatch import STAGES

MAP_IMAGES = 100  # on fewer images an mAP says little
PAPER: Mapping[str, Any] = {
    "source": "He et al. 2014, VOC2007, a GPU of 2014, no proposals; R-CNN with Alex-5 unless said, SPPnet with ZF-5",
    "seconds": {
        "spp_1_scale": {"conv": 0.053, "fc": 0.089, "total": 0.142},
        "spp_5_scales": {"conv": 0.293, "fc": 0.089, "total": 0.382},
        "rcnn": {"conv": 8.96, "fc": 0.07, "total": 9.03},
        "rcnn_zf5": {"conv": 14.37},
    },
    "speedup": {"spp_1_scale": 64, "spp_5_scales": 24},
    "speedup_zf5_both": {"spp_1_scale": 102, "spp_5_scales": 38},
    "map_voc07": {"spp_1_scale": 0.580, "spp_5_scales": 0.592, "rcnn": 0.585},
}


@dataclass(frozen=True)
class Comparison:
    """Detectors on the same images and regions, everything by their names.

    stages: median seconds of each stage. totals: the same without proposals, and of everything. spread: quartiles
    [25%, 75%] of all of them. growth: seconds without proposals by number of regions. throughput: None without a
    detector in R-CNN mode. maps: mAPs on the same images, of detectors that were trained themselves, where the images
    are not fewer than MAP_IMAGES. topped_up: random boxes added where an image had too few proposals.
    shared: where maps are pooled, the share of the regions that fall on the cells of another, by name. precision: of
    the convolutions, as are the network and its settings in `detectors`.
    """

    images: int
    regions: int
    topped_up: int
    shared: Mapping[str, float]
    device: str
    machine: str
    threads: int
    torch: str
    baseline: str
    detectors: Mapping[str, Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, float]]
    spread: Mapping[str, Mapping[str, Sequence[float]]]
    totals: Mapping[str, Mapping[str, float]]
    growth: Mapping[str, Mapping[int, float]]
    throughput: Throughput | None
    maps: Mapping[str, BootstrapMAP]

    @property
    def others(self) -> list[str]:
        """The names of the detectors that are not the baseline."""
        return [name for name in self.stages if name != self.baseline]

    @property
    def speedup(self) -> dict[str, dict[str, float]]:
        """How many times the baseline's median seconds are another's: of conv, without proposals, in total."""
        rows = {name: {"conv": self.stages[name]["conv"], **self.totals[name]} for name in self.stages}
        slow = rows[self.baseline]
        return {
            name: {key: slow[key] / seconds if seconds else float("nan") for key, seconds in rows[name].items()}
            for name in self.others
        }

    @property
    def differences(self) -> dict[str, BootstrapMAP]:
        """By how much another's mAP is above the baseline's, where both have one."""
        if self.baseline not in self.maps:
            return {}
        return {name: self.maps[name].minus(self.maps[self.baseline]) for name in self.others if name in self.maps}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN is None, numbers of regions are text."""
        own = {
            "throughput": self.throughput.as_dict() if self.throughput else None,
            "maps": {name: found.as_dict() for name, found in self.maps.items()},
            "differences": {name: found.as_dict() for name, found in self.differences.items()},
        }
        return json_ready(vars(self) | own | {"speedup": self.speedup, "paper": PAPER})


def format_table(comparison: Comparison) -> str:
    """The comparison as plain text, the paper's figures beside ours."""
    parts = [
        _header(comparison),
        _stage_table(comparison),
        _speedup_table(comparison),
        _growth_table(comparison),
        _throughput_line(comparison),
        _map_table(comparison),
        f"Paper: {PAPER['source']}",
    ]
    return "\n\n".join(part for part in parts if part)


def _header(comparison: Comparison) -> str:
    lines = [f"{comparison.images} images, {comparison.regions} regions each, the same for all"]
    if comparison.topped_up:
        lines[0] += f" ({comparison.topped_up} random boxes in all, where an image had too few proposals)"
    for name, settings in comparison.detectors.items():
        lines.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    for name, share in comparison.shared.items():
        lines.append(
            f"{name}: {100 * share:.1f}% of the regions fall on the cells of another, pooled and classified once"
        )
    where = f"{comparison.threads} threads" if comparison.device == "cpu" else comparison.device
    lines.append(f"measured on {comparison.machine}, {where}, torch {comparison.torch}")
    return "\n".join(lines)


def _stage_table(comparison: Comparison) -> str:
    names = [comparison.baseline, *comparison.others]
    rows = [["seconds an image: median [quartiles]", *names]]
    for row in (*STAGES, *SUMS):
        cells = []
        for name in names:
            value = comparison.totals[name][row] if row in SUMS else comparison.stages[name][row]
            low, high = comparison.spread[name][row]
            cells.append(f"{_number(value)} [{_number(low)}, {_number(high)}]")
        rows.append([row.replace("_", " "), *cells])
    return align(rows)


def _speedup_table(comparison: Comparison) -> str:
    ours = comparison.speedup
    rows = [[f"times faster than {comparison.baseline}", *ours, "paper, 1 scale", "paper, 5 scales"]]
    conv, without, total = (
        [key.replace("_", " "), *(_times(times[key]) for times in ours.values())]
        for key in ("conv", "without_proposals", "total")
    )
    seconds = PAPER["seconds"]
    for scales in ("spp_1_scale", "spp_5_scales"):
        alex, zf5 = (seconds[rcnn]["conv"] / seconds[scales]["conv"] for rcnn in ("rcnn", "rcnn_zf5"))
        conv.append(f"{_times(alex)} ({_times(zf5)})")
        without.append(f"{_times(PAPER['speedup'][scales])} ({_times(PAPER['speedup_zf5_both'][scales])})")
    rows += [conv, without, [*total, "-", "-"]]
    return align(rows) + "\nIn brackets: with the same network, ZF-5, on both sides."


def _growth_table(comparison: Comparison) -> str:
    if not comparison.growth:
        return ""
    counts = list(comparison.growth[comparison.baseline])
    rows = [["seconds by regions, no proposals", *map(str, counts)]]
    for name in (comparison.baseline, *comparison.others):
        rows.append([name, *(_number(comparison.growth[name][count]) for count in counts)])
    return align(rows)


def _throughput_line(comparison: Comparison) -> str:
    found = comparison.throughput
    if found is None:
        return ""
    return (
        f"Crops a second, warping apart: {found.detector} {_number(found.crops_per_second)}, bare network"
        f" {_number(found.bare_crops_per_second)} at its best batch, {found.bare_best_batch}: ratio {found.ratio:.3f}"
    )


def _map_table(comparison: Comparison) -> str:
    paper = PAPER["map_voc07"]
    figures = f"{paper['spp_1_scale']:.1%} with 1 scale, {paper['spp_5_scales']:.1%} with 5, R-CNN {paper['rcnn']:.1%}"
    if not comparison.maps:
        few = comparison.images < MAP_IMAGES
        return f"mAP: shown from {MAP_IMAGES} images on; these are {comparison.images}" if few else ""
    rows = [["mAP on these images, % (95%)", "VOC07", "area", f"points to {comparison.baseline}"]]
    for name, found in comparison.maps.items():
        difference = comparison.differences.get(name)
        more = "-" if difference is None else _percent(difference.map_voc07, difference.interval_voc07, "+")
        area = _percent(found.map_area, found.interval_voc10)
        rows.append([name, _percent(found.map_voc07, found.interval_voc07), area, more])
    return f"{align(rows)}\nPaper, all of VOC2007: SPPnet {figures}"


def _percent(value: float, interval: tuple[float, float], sign: str = "") -> str:
    low, high = interval
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    if value != value:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2 if value >= 1 else 4}f}"


def _times(value: float) -> str:
    return "-" if value != value else f"{value:.0f}x" if value >= 10 else f"{value:.2g}x"
