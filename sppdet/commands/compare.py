"""Compare runs in time and mAP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.comparison.report import Comparison
    from sppdet.structures import Dataset

GROWTH = (100, 300, 1000, 2000)  # regions


def compare(
    runs: list[str],
    *,
    data: DataConfig = DataConfig(split="test", max_images=10),
    regions: int | None = None,
    growth: bool | tuple[int, ...] = False,
    baseline: str | None = None,
    output: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    dataset: Dataset | None = None,
) -> Comparison:
    """Compare detectors: stage times and speed-ups; mAP from 100 images on; growth with the regions if wanted.

    All detectors get the same proposals; R-CNN mode runs at its fastest batch size. A single run is compared with its
    own network and heads in the other mode. Ctrl-C ends it with what has been measured.

    Example: sppdet compare runs/mine runs/other --regions 400

    Args:
        runs: run folders or detector files
        data: images to compare on; without --data.root, SPLIT of the first run's data
        regions: regions per image; by default those of the first run
        growth: true, or numbers of regions to time on the first image
        baseline: name of the run to compare with; R-CNN by default
        output: folder of results; runs/compare-RUNS if not given
        dataset: images in memory, in place of `data`
    """
    from sppdet.commands.inputs import classes_of, data_of_run, load_run, read_data, warn_trained_on
    from sppdet.comparison.compare import COMPARISON, compare_detectors, write_comparison
    from sppdet.files.owned import OwnedFolder

    names = [Path(run).resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise ConfigError("two runs of one name", field="runs", expected="distinct names", got=", ".join(runs))
    folder = output or f"runs/compare-{'-'.join(names)}"
    OwnedFolder(folder, COMPARISON).check()
    classes = [classes_of(run) for run in runs]  # data are looked at before the networks
    if dataset is None:
        dataset = read_data(data_of_run(runs[0], data), classes[0], workers=2)
    warn_trained_on(runs, dataset)
    detectors = {name: load_run(run, device, precision) for name, run in zip(names, runs, strict=True)}
    counts = growth if isinstance(growth, tuple) else GROWTH if growth else ()
    comparison = compare_detectors(detectors, dataset, regions, counts, baseline)
    return write_comparison(comparison, folder)
