"""A page of small runs, and its parts."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from factories import detect
from PIL import Image

from sppdet.evaluation.evaluation import evaluate_detections
from sppdet.report.data import EvaluatedRun, ReportData
from sppdet.structures import Annotations, Dataset, Detections

A, B, C = ([float(x), 0.0, x + 20.0, 20.0] for x in (0, 30, 60))
FAR, LARGE = [90.0, 30.0, 95.0, 35.0], [0.0, 22.0, 40.0, 50.0]


def write_images(folder: Path, number: int, size: tuple[int, int] = (100, 50)) -> list[Path]:
    """JPEG files of noise, of (width, height)."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{k}.jpg" for k in range(number)]
    for k, file in enumerate(files):
        noise = np.random.default_rng(k).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, quality=90)
    return files


def small_data(folder: Path, classes: Sequence[str] = ("cat", "dog"), ids: Sequence[str] = ("one", "two")) -> Dataset:
    """Two images: a cat in A, a dog in B and a large cat; a cat in A, and a difficult dog in C."""
    first, second = write_images(folder, 2)
    images = (
        Annotations(first, torch.tensor([A, B, LARGE]), torch.tensor([1, 2, 1]), id=ids[0]),
        Annotations(second, torch.tensor([A, C]), torch.tensor([1, 2]), torch.tensor([False, True]), ids[1]),
    )
    return Dataset("small", tuple(classes), images)


# Of cats: a hit in A, false alarms on the dog in B (0.8) and far away; of dogs: one on the difficult dog.
FOUND = (detect([A, B, FAR], [0.9, 0.8, 0.7], [1, 1, 1]), detect([C, A, FAR], [0.6, 0.5, 0.1], [2, 1, 2]))


def small_run(
    dataset: Dataset, detections: Sequence[Detections] = FOUND, name: str = "run", threshold: float = 0.3, **options
) -> EvaluatedRun:
    """A run with these detections, whose scores are probabilities."""
    numbers = evaluate_detections(detections, dataset, 0).as_dict()
    shown, thresholds = [one.scores for one in detections], torch.full((len(dataset.classes),), threshold)
    return EvaluatedRun(name, numbers, dataset, detections, shown, True, thresholds, **options)


def small_report(dataset: Dataset, *names: str) -> ReportData:
    return ReportData([small_run(dataset, name=name) for name in names or ("run",)], dataset)


def block_of(page: str) -> dict:
    """The JSON of a page."""
    (text,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)
