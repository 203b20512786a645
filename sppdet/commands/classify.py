"""Train, evaluate and use classifiers of images of any size."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.summary import Summary, summarize_training
from sppdet.config.classification import TrainClassifierConfig, ViewsConfig
from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError, ImageError
from sppdet.wording import counted

if TYPE_CHECKING:
    from sppdet.classification.evaluation import Accuracy


def train(config: TrainClassifierConfig) -> Summary:
    """Train a classifier; repeat the command to resume an interrupted training.

    Images are read from a folder with a folder for each class. Options override --config wherever they stand.

    Example: sppdet classify train --data.train crops/train --backbone.name efficientnet_lite0 --output runs/classes

    Args:
        config: YAML file of these parameters
    """
    from sppdet.classification.training import train_classifier

    return summarize_training("classifier", train_classifier(config).classes, config.output)


def evaluate(
    runs: list[str],
    *,
    data: str | None = None,
    against: tuple[str, ...] = (),
    views: ViewsConfig = ViewsConfig(),
    resamples: int = 1000,
    skip_unreadable: bool = False,
    allow_outside: bool = False,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Accuracy:
    """Evaluate a classifier, or the mean of several such as the seeds of a recipe.

    Example: sppdet classify evaluate runs/classes --data crops/test

    Args:
        runs: run folders or classifier files
        data: folder with a folder per class; the first run's data.val by default
        against: other runs to compare with, a list such as [runs/a,runs/b]
        views: parts of each image that are scored
        resamples: bootstrap resamples of the images for 95% intervals; 0: none
        skip_unreadable: leave out images that cannot be decoded, as the first run does on its data.val
        allow_outside: read images that links lead to outside of the folder, as the first run does on its data.val
    """
    from sppdet.classification.evaluation import evaluate_classifiers
    from sppdet.files.run_folder import RunFolder

    first = RunFolder(runs[0])
    first.find("classifier")
    if data is None and first.config.is_file():
        trained = first.load_config(TrainClassifierConfig).data
        data, skip_unreadable = trained.val, skip_unreadable or trained.skip_unreadable
        allow_outside = allow_outside or trained.allow_outside
    if data is None:
        raise ConfigError("no data given, and the run has no data.val", field="data", expected="a folder: --data PATH")
    skipping = (skip_unreadable, allow_outside)
    return evaluate_classifiers(runs, data, views, against, resamples, device, precision, *skipping)


def predict(
    run: str,
    images: list[str],
    *,
    recursive: bool = False,
    top: int = 1,
    views: ViewsConfig = ViewsConfig(),
    output: str | None = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Classify images: the most probable classes of each, as text, CSV or JSON.

    Example: sppdet classify predict runs/classes photo.jpg

    Args:
        run: run folder or classifier file
        images: image files or folders
        recursive: images in subfolders too
        top: number of classes per image
        views: parts of each image that are scored
        output: .csv or .json file
    """
    from sppdet.classification.classifier import Classifier
    from sppdet.commands.sources import image_files, read_images
    from sppdet.files.owned import check_new_file

    if output:
        check_new_file(output, ".csv", ".json")
    if top < 1:
        raise ConfigError("out of range", field="top", expected="1 or more", got=top)
    files = image_files(images, recursive)  # looked at before the network
    classifier = Classifier.load(run, device, precision)
    entries, errors = list[dict[str, Any]](), list[ImageError]()
    try:
        for i, image in read_images(files, errors, "classify"):
            best = classifier.predict(image, views).sort(descending=True, stable=True)
            pairs = zip(best.indices[:top].tolist(), best.values[:top].tolist(), strict=True)
            classes = [{"class": classifier.classes[k], "probability": value} for k, value in pairs]
            entries.append({"image": str(files[i]), "classes": classes})
    finally:  # after Ctrl-C as well
        if entries and output:
            _write_predictions(output, entries)
    text = f"{counted(len(entries), 'image')} in {output}"
    if not entries or not output:
        texts = [", ".join(f"{one['class']} {one['probability']:.2f}" for one in entry["classes"]) for entry in entries]
        text = "\n".join(f"{entry['image']}: {classes}" for entry, classes in zip(entries, texts, strict=True))
    return Summary(entries, text, errors)


def _write_predictions(path: str, entries: Sequence[dict[str, Any]]) -> None:
    """Write the entries to a .json file, or to a .csv file with a line for each image and class."""
    from sppdet.files.atomic import write_json, write_text

    if path.endswith(".json"):
        write_json(path, entries)
        return
    rows = [(entry["image"], n, *one.values()) for entry in entries for n, one in enumerate(entry["classes"], start=1)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("image", "rank", "class", "probability"), *rows])
    write_text(path, text.getvalue())


def crops(*, data: DataConfig = DataConfig(), context: float = 0.0, output: str) -> Summary:
    """Cut the objects of a detection data set out as images to classify, without difficult ones.

    Example: sppdet classify crops --data.root photos --data.split train --output crops

    Args:
        data: images and their objects
        context: enlargement of each box on each side, a fraction of its side
        output: folder; crops are written to OUTPUT/SPLIT/CLASS
    """
    from sppdet.classification.crops import write_crops
    from sppdet.commands.inputs import read_data

    folder = Path(output) / data.split
    count = write_crops(read_data(data, None, workers=2), folder, context)
    return Summary({"folder": str(folder), "crops": count}, f"{counted(count, 'crop')} in {folder}")
