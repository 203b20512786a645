"""The README of a run: with what result it was trained on what, how it is repeated, and what comes next."""

import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from sppdet.backbones.licences import weights_licence
from sppdet.config.training import TrainConfig
from sppdet.drawing.tables import percent, with_interval
from sppdet.evaluation.voc import VOCResult
from sppdet.files.atomic import write_text
from sppdet.files.recorder import recorded
from sppdet.files.run_folder import RunFolder
from sppdet.files.run_story import read_evaluations
from sppdet.runtime.machine import hardware_name
from sppdet.runtime.ranks import world
from sppdet.training.account import HELD_OUT, TRAINED, Account
from sppdet.wording import counted, printable

EVALUATIONS = "Evaluations"  # a section that each evaluation writes anew


class Session(NamedTuple):
    """A call that trains. begun: time.perf_counter() at its start. resumed: whether it went on from an earlier one."""

    run: RunFolder
    device: torch.device
    begun: float
    resumed: bool

    def write_readme(self, title: str, sections: Mapping[str, Sequence[str]]) -> None:
        """Write README.md into the folder of the run: paragraphs, tables and blocks by heading."""
        parts = [f"# {title}"]
        for heading, paragraphs in sections.items():
            parts += [f"## {heading}", *filter(None, paragraphs)]
        write_text(self.run.readme, printable("\n\n".join(parts)) + "\n")

    def describe(self, settings: Mapping[str, object], command: Sequence[str | Path]) -> list[str]:
        """Return paragraphs about the training. command: repeats it with the settings in the run's folder, none if
        it had other data than they name."""
        from sppdet import __version__

        since = "since it was resumed" if self.resumed else "from the check of the data on"
        seconds = f"{time.perf_counter() - self.begun:.0f} s {since}"
        threads = counted(torch.get_num_threads(), "thread")
        threads = f"{world()} processes of {threads}" if world() > 1 else threads
        rows = {
            **settings,
            "versions": f"sppdet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
            "machine": f"{hardware_name(self.device)} ({self.device.type}), {threads}, {platform.system()}",
            "finished": f"{time.strftime('%Y-%m-%d %H:%M')}, after {seconds}",
            **self._cost(),
        }
        way = "The same training again" if command else "The data were given in Python"
        settings_in = f"All settings are in `{self.run.config.name}`; commands are given from `{Path.cwd()}`. {way}"
        again = self.run.path.with_name(f"{self.run.path.name}-again")
        whole = (*command, "--config", self.run.config, "--output", again)
        return [
            table(("", ""), list(rows.items())),
            f"{settings_in}{':' if command else '.'}",
            commands(whole) if command else "",
        ]

    def _cost(self) -> dict[str, str]:
        """Return the minutes of all sessions and the most memory, if they were recorded."""
        metrics = recorded()
        if not metrics or not metrics.rows:
            return {}
        sessions = f" in {counted(metrics.session, 'session')}" if metrics.session > 1 else ""
        minutes = f"{metrics.seconds / 60:.1f}{sessions}; `results.csv` has a row of each epoch, refit and stage"
        memory = f"{metrics.memory_gb:.1f} GB resident, mapped files included" if metrics.memory_gb else "not known"
        return {"minutes": minutes, "memory": memory}


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown; columns after the first that have a title are to the right.

    >>> print(table(("images", "all"), [("cat", 3)]))
    | images | all |
    |---|--:|
    | cat | 3 |
    """
    rule = "|".join("--:" if title and i else "---" for i, title in enumerate(header))
    lines = [" | ".join(str(cell).replace("|", r"\|") for cell in row) for row in (header, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def commands(*lines: Sequence[str | Path]) -> str:
    """Return a block of commands, each given by its arguments."""
    return "\n".join(["```sh", *(shlex.join(["sppdet", *map(str, line)]) for line in lines), "```"])


def write_detector_readme(session: Session, config: TrainConfig, account: Account, result: VOCResult) -> None:
    """Write the README of a detector's run. result: of the images held out."""
    run, classes = session.run, result.classes
    settings = {
        "network": f"{config.backbone.name}, {config.backbone.tap}, weights {config.backbone.weights}",
        "features, heads": f"{config.features}, {config.head}",
        "fine-tuning": counted(config.finetune.epochs, "epoch") if config.finetune.epochs else "none",
        "seed": str(config.seed),
        "licence of the weights": weights_licence(config.backbone.name, config.backbone.weights),
    }
    divided = ("--data.split_file", run.split) if run.split.is_file() else ()
    sections = {
        "Result": [
            f"mAP {percent(result.map_voc07)} (VOC, 11 points), {percent(result.map_area)} (area) {_fits(account)} "
            f"`{run.val.name}` has all numbers, `{run.val_picture.name}` shows images."
            + (f" `{run.examples_picture.name}` shows examples of the SVMs." if config.head == "svm" else "")
        ],
        EVALUATIONS: [evaluations(run)],
        "Data": [_found(config, account), *_counts(account), _classes(account, result), _problems(config, account)],
        "Training": session.describe(settings, ("train", *divided) if account.root else ()),
        "Next": [
            commands(
                ("evaluate", run.path),
                ("diagnose", run.path),
                ("detect", run.path, "photo.jpg", "--output", "runs/pictures"),
            )
        ],
    }
    session.write_readme(f"Detector of {counted(len(classes), 'class')}: {', '.join(classes)}", sections)


def evaluations(run: RunFolder) -> str:
    """Return the table of the results in the folders of evaluations, or what makes one."""
    scores = read_evaluations(run.path)
    if not scores:
        return f"None yet: `sppdet evaluate {shlex.quote(str(run.path))}`."
    rows = []
    for name, one in scores.items():
        cells = [with_interval(one.values.get(key), one.intervals.get(key)) for key in ("map_voc07", "map_area")]
        rows.append((name, one.images, *cells))
    return table(("in percent, with 95% intervals", "images", "mAP, 11 points", "mAP, area"), rows)


def update_evaluations(run: RunFolder) -> None:
    """Write the results of all evaluations into the README of the run, if it has the section."""
    text = run.readme.read_text(encoding="utf-8", errors="surrogateescape") if run.readme.is_file() else ""
    before, heading, rest = text.partition(f"\n## {EVALUATIONS}\n\n")
    if heading:
        _, following, after = rest.partition("\n## ")
        write_text(run.readme, f"{before}{heading}{printable(evaluations(run))}\n{following}{after}")


def _fits(account: Account) -> str:
    """Return the images that mAP and thresholds are of, and those that each fit is to."""
    first, held_out, final = account.parts[TRAINED], account.parts[HELD_OUT].images, account.final
    others = f"the other {counted(first.images, 'image')} ({counted(first.objects.total(), 'object')})"
    whose = "a detector" if account.refitted else "this detector, which was"
    measured = f"on {counted(held_out, 'image')} held out ({account.how}), measured by {whose} trained on {others}. "
    measured += "Thresholds were chosen on the same images."
    if not account.refitted:
        return measured
    images = f"{'all ' if final.images == first.images + held_out else ''}{counted(final.images, 'image')}"
    return f"{measured} The final detector is trained on {images} ({counted(final.objects.total(), 'object')})."


def _found(config: TrainConfig, account: Account) -> str:
    if account.root is None:
        return "In memory."
    data = config.data
    chosen = f"`{data.annotations}`" if data.annotations else f"split `{data.split}`"
    return f"Found in `{account.root.resolve()}`: {account.origin}. Images to train on: {chosen}."


def _counts(account: Account) -> list[str]:
    """Return the tables of everything on disk, and of the images used with all of their objects."""
    parts = account.fits.values()
    rows = [
        ("images", *(part.images for part in parts)),
        ("… without objects: background", *(part.background for part in parts)),
        ("objects used", *(part.objects.total() for part in parts)),
    ]
    for reason in dict.fromkeys(reason for part in parts for reason in part.others):
        rows.append((f"objects left out: {reason}", *(part.others[reason] for part in parts)))
    rows.append(("all objects", *(part.objects.total() + part.others.total() for part in parts)))
    fates = [(account.name(row.fate), row.images, row.objects) for row in account.rows]
    everything = table(("on disk", "image files", "objects"), [*fates, account.total]) if fates else ""
    return [everything, table(("of the images used", *account.fits), rows)]


def _classes(account: Account, result: VOCResult) -> str:
    aps = map(percent, result.ap_voc07.tolist())
    counts = [[part.objects[name] for part in account.fits.values()] for name in result.classes]
    rows = [(name, *numbers, ap) for name, numbers, ap in zip(result.classes, counts, aps, strict=True)]
    return table(("objects used of class", *account.fits, "AP (11 points)"), rows)


def _problems(config: TrainConfig, account: Account) -> str:
    if account.root is None:
        return ""
    listed = f"`sppdet check-data {shlex.quote(config.data.root)} --output check` lists them"
    texts = []
    for grade, word in (("error", "Errors, left out"), ("warning", "Warnings")):
        kinds = [f"{count} {kind}" for (severity, kind), count in account.problems.items() if severity == grade]
        texts += [f"{word}: {', '.join(kinds)}"] if kinds else []
    return f"{'. '.join(texts)} ({listed})." if texts else "Nothing wrong was found in the data."
