"""Compare runs in time and mAP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sppdet.commands.runs import load_run
from sppdet.comparison.compare import GROWTH, compare_detectors, write_comparison
from sppdet.comparison.report import Comparison
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.data.dataset import read_dataset
from sppdet.errors import ConfigError


def compare(
    runs: Sequence[str],
    data: DataConfig,
    regions: int = 2000,
    growth: tuple[int, ...] = GROWTH,
    output: str = "runs/compare",
    device: Device = "cpu",
    precision: Precision = "fp32",
    baseline: str | None = None,
) -> Comparison:
    """Compare one run with its counterpart in the other mode, or several, and write what comes of it to `output`.

    baseline: the name (of its folder) of the run that the others are compared with; by default the first in R-CNN mode.
    """
    detectors = {Path(run).resolve().name: load_run(run, device, precision) for run in runs}
    if len(detectors) < len(runs):
        raise ConfigError("two runs of one name", field="runs", expected="names of their own", got=", ".join(runs))
    dataset = read_dataset(data, next(iter(detectors.values())).classes)
    result = compare_detectors(detectors, dataset, regions, growth, baseline)
    write_comparison(result, output)
    return result
