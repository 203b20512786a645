"""Check annotated data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import DataError
from sppdet.wording import counted

if TYPE_CHECKING:
    from sppdet.data.build import CheckedImage
    from sppdet.data.checks.report import Check
    from sppdet.data.problems import Problem

UNREADABLE = "unreadable image"  # the kind of problem
CONFIDENT = 0.5  # probability of a detection that may contradict a label


def check_data(
    path: str | None = None,
    *,
    run: str | None = None,
    data: DataConfig = DataConfig(),
    proposals: ProposalConfig = ProposalConfig(),
    output: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    workers: int = 2,
) -> Summary:
    """Check images and annotations of all splits: everything wrong with them, and what they hold.

    With --output every fault goes to check.json, and boxes per class, sizes, aspect ratios and places to a picture,
    check.png. The exit code is 1 if there are errors: something that would be trained wrongly. With --data.max_images N
    the first N of each split are checked.

    Example: sppdet check-data photos --output runs/check

    Args:
        path: folder of the data; in place of --data.root
        run: run whose detector doubts labels: missing boxes, wrong classes, loose boxes
        data: images; without a path, those of the run
        proposals: their least size, below which objects are reported
        output: folder of check.json and check.png; by default nothing is written
        workers: images searched for proposals at once, with --run
    """
    from sppdet.commands.inputs import data_of_run
    from sppdet.data.checks.check import check_data as check
    from sppdet.data.checks.picture import plot_check
    from sppdet.files.atomic import write_json
    from sppdet.files.owned import OwnedFolder, hold_folder

    if output:
        OwnedFolder(output, "check").check()
    data = data_of_run(run, replace(data, root=path) if path else data)
    found = check(data, proposals)
    if run:
        found = replace(found, problems=(*found.problems, *_doubts(found, run, device, precision, workers)))
    listed, text = "--output FOLDER lists all", str(found)
    if output:
        with hold_folder(output, "check"):
            write_json(Path(output) / "check.json", found.as_dict())
            plot_check(found, Path(output) / "check.png")
        listed, text = f"all are in {Path(output) / 'check.json'}", f"{text}\n\nwritten to {output}"
    elif found.problems and not found.errors:  # which say it
        text = f"{text}\n\n{listed}"
    count = len(found.errors)
    unreadable = any(problem.kind == UNREADABLE for problem in found.errors)
    ways = "--data.strict false" + (" and --data.skip_unreadable true leave" if unreadable else " leaves")
    wrong = f"{counted(count, 'error')}: something would be trained wrongly; {listed}"
    message = f"{wrong}, and {ways} these images or objects out of a training"
    errors = [DataError(message, file=found.root)] if count else []
    return Summary(found.as_dict(), text, errors)


def _doubts(check: Check, run: str, device: Device, precision: Precision, workers: int) -> list[Problem]:
    """Detect objects in all images that can be read, and return the labels that confident detections contradict."""
    import torch

    from sppdet.commands.inputs import detect_dataset, load_run
    from sppdet.data.problems import Problem
    from sppdet.evaluation.doubts import find_doubts
    from sppdet.structures import Annotations, Dataset

    detector = load_run(run, device, precision)
    damaged = {problem.file for problem in check.problems if problem.kind == UNREADABLE}
    every = [image for part in check.parts.values() for image in part]
    images = [image for image in every if str(image.source.path) not in damaged]
    names = tuple(dict.fromkeys([*detector.classes, *check.classes]))

    def relabel(image: CheckedImage) -> Annotations:
        numbers = [names.index(thing.name) + 1 for thing in image.objects]
        given = image.annotations
        return Annotations(given.image, given.boxes, torch.tensor(numbers).long(), given.difficult, given.id)

    dataset = Dataset("checked", names, tuple(map(relabel, images)))
    found = [one.above(detector.thresholds) for one in detect_dataset(detector, dataset, workers)]
    if detector.calibration is not None:
        found = [detector.probabilities(one).above(CONFIDENT) for one in found]
    problems = []
    for doubt in find_doubts(found, dataset.images, names):
        image, seen = images[doubt.image], found[doubt.image]
        box, label, score = list(seen)[doubt.detection]
        where = f"({', '.join(f'{value:.0f}' for value in box.tolist())})"
        message = f"{names[label - 1]} detected at {where}, score {score:.2f}, IoU {doubt.iou:.2f}"
        field = f"box {where}" if doubt.object is None else image.objects[doubt.object].place
        problems.append(Problem(str(image.source.file), field, f"doubt: {doubt.kind}", "warning", message))
    return problems
