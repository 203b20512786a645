"""Compare detectors, and write the files of a comparison."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sppdet.comparison.plots import plot_growth, plot_stages
from sppdet.comparison.report import MIN_MAP_IMAGES, Comparison
from sppdet.comparison.throughput import ROUNDS, measure_throughput, with_best_batch
from sppdet.comparison.timing import estimate_seconds, measure_growth, propose_exactly, time_detectors
from sppdet.config.detector import FeatureKind
from sppdet.detector import Detector
from sppdet.errors import ConfigError, DataError, InputError
from sppdet.evaluation.bootstrap import bootstrap_map
from sppdet.files.atomic import write_json
from sppdet.files.owned import hold_folder
from sppdet.runtime.machine import hardware_name
from sppdet.runtime.progress import Stage, plan
from sppdet.structures import Dataset
from sppdet.wording import counted, duration

logger = logging.getLogger(__name__)

REGIONS = 2000  # of a run that takes all proposals
ROUND_SECONDS = 2.0  # of the throughput, with SqueezeNet on 2 cores
COMPARISON = "comparison"  # the kind of the folder


def compare_detectors(
    detectors: Mapping[str, Detector],
    dataset: Dataset,
    regions: int | None = None,
    growth_regions: Sequence[int] = (),
    baseline: str | None = None,
) -> Comparison:
    """Compare detectors, by name, on the images of `dataset` with `regions` boxes each, by default as many as the first
    detector has proposals.

    A single detector is compared with itself in the other mode: the same network and heads, named "<name>-crop" or
    "<name>-spp", without an mAP. R-CNN mode runs at its best batch size. Proposals follow the first detector's
    configuration. The mAP is computed from the timed detections, if there are MIN_MAP_IMAGES images.

    Args:
        growth_regions: numbers of boxes to time on the first image; empty: growth is not measured.
        baseline: name of the detector that the others are compared with; by default the first one in R-CNN mode.

    Raises InputError or DataError if there is nothing to compare, or if the data have other classes.
    """
    _check(detectors, dataset)
    shown, baseline = _choose(detectors, baseline)
    first = next(iter(shown.values()))
    regions = regions or first.config.proposals.limit or REGIONS
    search, device = first.config.proposals, first.backbone.device
    machine = {"device": device.type, "machine": hardware_name(device), "threads": torch.get_num_threads()}
    seconds = estimate_seconds(shown, dataset.images[0].read(), search, regions, len(dataset))
    sizes = counted(len(dataset), "image"), counted(regions, "region")
    more = "; growth takes longer" if growth_regions else ""
    logger.info("%s with %s each: about %s%s; Ctrl-C keeps what is measured", *sizes, duration(seconds), more)
    cropping = next((name for name, detector in shown.items() if detector.extractor.per_region), None)
    with plan(*_stages(len(dataset) + 1, seconds, len(set(growth_regions)), cropping is not None)):
        timings = time_detectors(shown, dataset.images, search, regions)
        growth: dict[str, dict[int, float]] = {}
        throughput, interrupted = None, timings.interrupted
        try:
            if growth_regions and not interrupted:
                image = dataset.images[0].read()
                proposals = propose_exactly(image, max(growth_regions), search)
                growth = measure_growth(shown, image, proposals.boxes, growth_regions)
            if cropping and not interrupted:
                throughput = measure_throughput(cropping, shown[cropping])
        except KeyboardInterrupt:
            interrupted = True
    measured = dataset.images[: timings.images]
    evaluated = detectors if len(measured) >= MIN_MAP_IMAGES else ()
    return Comparison(
        images=len(measured),
        regions=regions,
        timings=timings,
        machine=machine | {"torch": torch.__version__},
        baseline=baseline,
        detectors={name: _settings(detector) for name, detector in shown.items()},
        growth=growth,
        throughput=throughput,
        maps={name: bootstrap_map(timings.detections[name], measured, dataset.classes) for name in evaluated},
        interrupted=interrupted,
    )


def _check(detectors: Mapping[str, Detector], dataset: Dataset) -> None:
    if not detectors:
        raise InputError("nothing to compare", field="detectors", expected="at least 1", got=0)
    if not len(dataset):
        raise DataError("no images to compare on", field="images", expected="1 or more", got=0)
    for name, detector in detectors.items():
        dataset.check_classes(detector.classes, name)


def _stages(rounds: int, seconds: float, sizes: int, cropping: bool) -> list[Stage]:
    """Return the stages of a comparison, of which the rounds take these seconds."""
    each = seconds / rounds
    stages = [Stage("compare", rounds, each), Stage("growth", sizes, 3 * each)]
    stages.append(Stage("throughput", (ROUNDS + 1) * cropping, ROUND_SECONDS))
    return [stage for stage in stages if stage.items]


def _choose(detectors: Mapping[str, Detector], baseline: str | None) -> tuple[dict[str, Detector], str]:
    """Return the detectors to compare, at their best batch size, and the name of the baseline."""
    shown = dict(detectors)
    if len(shown) == 1:
        ((name, detector),) = detectors.items()
        other: FeatureKind = "spp" if detector.extractor.per_region else "crop"
        shown[f"{name}-{other}"] = detector.with_features(other)
    baseline = baseline or next((name for name, d in shown.items() if d.extractor.per_region), next(iter(shown)))
    if baseline not in shown:
        raise ConfigError("unknown detector", field="baseline", expected=tuple(shown), got=baseline)
    return {name: with_best_batch(detector) for name, detector in shown.items()}, baseline


def write_comparison(comparison: Comparison, folder: str) -> Comparison:
    """Write compare.json, stages.png and, if it was measured, growth.png. Returns the comparison with its folder.

    Raises KeyboardInterrupt afterwards if the comparison was interrupted.
    """
    with hold_folder(folder, COMPARISON):
        write_json(Path(folder) / "compare.json", comparison.as_dict())
        plot_stages(comparison, Path(folder) / "stages.png")
        if comparison.growth:
            plot_growth(comparison, Path(folder) / "growth.png")
    if comparison.interrupted:
        logger.info("interrupted: %s measured, written to %s", counted(comparison.images, "image"), folder)
        raise KeyboardInterrupt
    return replace(comparison, folder=folder)


def _settings(detector: Detector) -> dict[str, Any]:
    """Return the settings of a detector that explain its times."""
    config = detector.config
    network = {"features": config.features, "backbone": config.backbone.name, "precision": detector.backbone.precision}
    layers = {} if detector.layers is None else {"fully_connected": len(detector.layers)}
    return network | layers | detector.extractor.describe()
