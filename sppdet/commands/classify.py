"""Classify image files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sppdet.classification.classifier import Classifier
from sppdet.classification.views import predict
from sppdet.commands.detect import image_files
from sppdet.config.classification import ViewsConfig
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError, ImageError
from sppdet.files.atomic import write_json, write_text
from sppdet.images import read_image
from sppdet.runtime.memory import trim_memory


def classify_files(
    run: str,
    images: Sequence[str],
    views: ViewsConfig,
    top: int = 1,
    output: str | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> tuple[list[dict[str, Any]], list[ImageError]]:
    """The `top` most probable classes of image files and folders of them.

    Returns, and writes to `output` (.csv or .json), an entry an image: its file, and its classes with their
    probabilities. Images that cannot be read are left out; the errors that name them are returned as well.
    """
    if output and Path(output).suffix not in (".csv", ".json"):
        raise ConfigError("unknown format", field="output", expected="a .csv or .json file", got=output)
    if top < 1:
        raise ConfigError("out of range", field="top", expected="1 or more", got=top)
    classifier = Classifier.load(run, device, precision)
    files = image_files(images)
    entries: list[dict[str, Any]] = []
    errors: list[ImageError] = []
    try:
        for file in trim_memory(tqdm(files, desc="classify", unit="image")):
            try:
                image = read_image(file)
            except ImageError as error:
                errors.append(error)
                continue
            best = predict(classifier, image, views).sort(descending=True, stable=True)
            pairs = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))[:top]
            found = [{"class": classifier.classes[k], "probability": value} for k, value in pairs]
            entries.append({"image": str(file), "classes": found})
    finally:  # after Ctrl-C as well
        if entries and output and output.endswith(".json"):
            write_json(output, entries)
        elif entries and output:
            write_text(output, as_csv(entries))
    return entries, errors


def as_csv(entries: Sequence[dict[str, Any]]) -> str:
    """A line for each image and class: image, rank, class, probability."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "rank", "class", "probability"])
    for entry in entries:
        for rank, found in enumerate(entry["classes"], start=1):
            writer.writerow([entry["image"], rank, found["class"], found["probability"]])
    return text.getvalue()
