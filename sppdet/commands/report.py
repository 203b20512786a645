"""Report on evaluated runs."""

from __future__ import annotations

import logging
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.following import TEST, command_line, data_options
from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig
from sppdet.errors import DataError, SppdetError
from sppdet.wording import counted

if TYPE_CHECKING:
    from sppdet.report.data import EvaluatedRun
    from sppdet.structures import Dataset

MAPS = ("map_voc07", "map_area")

logger = logging.getLogger(__name__)


def report(
    runs: list[str],
    *,
    data: DataConfig = TEST,
    comparison: str | None = None,
    output: str = "report.html",
) -> Summary:
    """Write a page about runs that were evaluated: figures, and pictures of hits, false alarms and misses.

    One HTML file with everything in it, up to 8 MB: pictures fill the room that figures and tables leave. Open it in a
    browser, or send it by mail. Several runs, evaluated on the same images, are shown side by side.

    Example: sppdet report runs/mine runs/other --output report.html

    Args:
        runs: run folders or detector files, evaluated on these images
        data: images of the evaluations; without --data.root, SPLIT of the first run's data
        comparison: folder of `sppdet compare`, for times; runs/compare-RUNS if there is one
        output: HTML file
    """
    from sppdet.commands.inputs import classes_of, data_of_run, read_data, warn_trained_on
    from sppdet.files.owned import check_new_file
    from sppdet.report.data import ReportData
    from sppdet.report.page import MARK, write_report

    check_new_file(output, ".html", ".htm", mark=MARK)
    names = _names(runs)
    config = data_of_run(runs[0], data)
    dataset = read_data(config, classes_of(runs[0]), 2, decode=False)
    warn_trained_on(runs, dataset)
    times = [] if comparison is None else ["--comparison", comparison]
    command = command_line("report", *runs, *data_options(data), *times, "--output", output)
    evaluated = [_read_run(run, name, data, dataset, command) for run, name in zip(runs, names, strict=True)]
    written = write_report(ReportData(evaluated, dataset, _read_comparison(comparison, names)), output)
    if written["unreadable"]:
        logger.warning("%s cannot be read any more, and left out", counted(written["unreadable"], "image"))
    sizes = f"{counted(written['cases'], 'picture')}, {written['bytes'] / 1e6:.1f} MB"
    return Summary({"output": output, **written["content"]}, f"{sizes}\nwritten to {output}")


def _names(runs: list[str]) -> list[str]:
    """Return names that tell the runs apart: the last part of the path, or all of it."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else runs


def _read_run(run: str, name: str, data: DataConfig, dataset: Dataset, command: str) -> EvaluatedRun:
    """Read what an evaluation of a run left. Raises DataError if there is none of these images and this detector."""
    import torch

    from sppdet.commands.inputs import data_of_run, find_detections, load_run
    from sppdet.data.results.files import read_results
    from sppdet.files.atomic import read_json
    from sppdet.files.run_folder import RunFolder
    from sppdet.report.data import EvaluatedRun

    folder = RunFolder(run)
    file = find_detections(run, data_of_run(run, data), dataset)
    place = file.with_name("evaluation.json")
    evaluation, source = read_json(place), read_json(file.with_name("source.json"))
    if not _is_evaluation(evaluation):
        raise DataError("is no evaluation", file=place, expected=f"what `sppdet evaluate {run}` writes")
    detector = load_run(run, "cpu", "fp32")
    dataset.check_classes(detector.classes, run)
    found = read_results(file, dataset)
    thresholds, shown = detector.thresholds, [one.scores for one in found]
    if calibration := detector.calibration:
        thresholds = calibration.probabilities(thresholds, torch.arange(1, len(thresholds) + 1))
        if not source.get("probabilities"):
            shown = [calibration.probabilities(one.scores, one.labels) for one in found]
    return EvaluatedRun(
        name=name,
        evaluation=evaluation,
        dataset=dataset,
        detections=found,
        shown=shown,
        probabilities=calibration is not None or detector.config.head == "softmax",
        thresholds=thresholds,
        config=_optional(folder.config),
        held_out=_optional(folder.val),
        readme=folder.readme.read_text("utf-8", "replace") if folder.readme.is_file() else "",
        commands=[command_line("evaluate", run, *data_options(data)), command],
    )


def _is_evaluation(content: Any) -> bool:
    """Return True if the numbers that the page shows are numbers."""
    try:
        numbers = [content[key] for key in MAPS] + [content["coco"][key] for key in ("AP", "AP50", "AP75")]
        for key in MAPS:
            low, high = content.get("interval", {}).get(key, (None, None))
            numbers += [low, high]
        named = isinstance(content.get("trained_on", {}), dict)
        return named and all(value is None or isinstance(value, (int, float)) for value in numbers)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def _optional(file: Path) -> Any:
    from sppdet.files.atomic import read_json

    return read_json(file) if file.is_file() else None


def _read_comparison(folder: str | None, names: list[str]) -> dict[str, Any] | None:
    """Read what `sppdet compare` wrote; None if no folder is given and there is none in its place."""
    from sppdet.files.atomic import read_json
    from sppdet.runtime.stopwatch import STAGES

    file = Path(folder or f"runs/compare-{'-'.join(names)}") / "compare.json"
    if folder is None and not file.is_file():
        return None
    found = read_json(file)
    try:
        numbers = [found["stages"][name][stage] for name in found["stages"] for stage in STAGES]
        numbers += [rows[key] for rows in found["totals"].values() for key in ("without_proposals", "total")]
        numbers += [value for rows in found["growth"].values() for value in rows.values()]
        numbers += [int(count) for rows in found["growth"].values() for count in [min(rows), *rows]]
        numbers += [value for rows in found["speedup"].values() for value in rows.values() if value is not None]
        numbers += [found["images"], found["regions"], found["threads"]]
        named = all(isinstance(found[key], str) for key in ("machine", "baseline"))
        named = named and len({tuple(rows) for rows in found["growth"].values()}) < 2
        if not named or not all(isinstance(value, (int, float)) and isfinite(value) for value in numbers):
            raise TypeError("not a number")
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SppdetError("is no comparison", file=file, expected="what `sppdet compare` writes", got=error) from error
    return dict(found)
