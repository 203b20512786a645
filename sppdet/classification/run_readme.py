"""The README of a classifier's run."""

from collections.abc import Sequence
from pathlib import Path

from sppdet.backbones.licences import weights_licence
from sppdet.classification.evaluation import Accuracy
from sppdet.config.classification import TrainClassifierConfig
from sppdet.data.files import list_images
from sppdet.data.formats.image_folder import ImageFolder
from sppdet.drawing.tables import percent
from sppdet.training.account import OTHER, TRAINED, UNREADABLE
from sppdet.training.run_readme import Session, commands, table
from sppdet.wording import counted

MEASURED = "measured on"


def write_classifier_readme(
    session: Session,
    config: TrainClassifierConfig,
    read: Sequence[ImageFolder],
    kept: Sequence[ImageFolder],
    accuracy: Accuracy | None,
) -> None:
    """Write the README of a classifier's run.

    read: the images to train on and, if any, those of data.val. kept: the same without unreadable ones. accuracy: on
    those of data.val, None if there are none.
    """
    run, data, classes = session.run, config.data, read[0].classes
    roots = [Path(data.train), *([Path(data.val)] if data.val else [])]
    parts = [
        _count_files(root, each, len(left.files), fate)
        for root, each, left, fate in zip(roots, read, kept, (TRAINED, MEASURED), strict=False)
    ]
    result = "Not measured, as there is no data.val."
    if accuracy:
        tops = ", ".join(f"{name} {percent(mean.mean)}" for name, mean in accuracy.topk.items())
        result = (
            f"Accuracy on {counted(accuracy.images, 'image')} of `data.val`: {tops}. `{run.val.name}` has all numbers."
        )
    settings = {
        "network": f"{config.backbone.name}, {config.backbone.tap}, weights {config.backbone.weights}",
        "views": f"{config.view}, sizes {', '.join(map(str, config.sizes))}",
        "blocks of the network trained": "all" if config.blocks is None else str(config.blocks),
        "epochs": str(config.fit.epochs),
        "seed": str(config.seed),
        "licence of the weights": weights_licence(config.backbone.name, config.backbone.weights),
    }
    sections = {
        "Result": [f"{result} `{run.training_history.name}` has the loss and accuracy of each epoch."],
        "Data": [*parts, _count_classes(classes, kept, accuracy)],
        "Training": session.describe(settings, ("classify", "train")),
        "Next": [
            commands(
                ("classify", "evaluate", run.path, "--data", data.val or "FOLDER"),
                ("classify", "predict", run.path, "photo.jpg"),
            )
        ],
    }
    session.write_readme(f"Classifier of {counted(len(classes), 'class')}: {', '.join(classes)}", sections)


def _count_files(root: Path, read: ImageFolder, kept: int, fate: str) -> str:
    """Return a table of all image files in a folder."""
    every = len(list_images(root))
    fates = {fate: kept, UNREADABLE: len(read.files) - kept, OTHER: every - len(read.files)}
    rows = [(name, count) for name, count in fates.items() if count]
    return table((f"in `{root.resolve()}`", "image files"), [*rows, ("all", every)])


def _count_classes(classes: Sequence[str], kept: Sequence[ImageFolder], accuracy: Accuracy | None) -> str:
    counts = [each.labels.bincount(minlength=len(classes)).tolist() for each in kept]
    rows = []
    for label, name in enumerate(classes):
        top1 = accuracy.per_class[name]["top1"] if accuracy and name in accuracy.per_class else None
        rows.append((name, *(each[label] for each in counts), *([percent(top1)] if accuracy else [])))
    header = ("images of class", TRAINED, *((MEASURED, "top1") if accuracy else ()))
    return table(header, rows)
