"""Detect objects in image files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from sppdet.commands.runs import load_run
from sppdet.config.network import Device, Precision
from sppdet.drawing.detections import draw_detections, write_picture
from sppdet.errors import DataError, ImageError
from sppdet.files.atomic import write_json
from sppdet.images import IMAGE_SUFFIXES, read_image
from sppdet.runtime.memory import trim_memory
from sppdet.structures import Detections


def detect_files(
    run: str,
    images: Sequence[str],
    output: str,
    threshold: float | None = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    probabilities: bool = False,
) -> tuple[list[dict[str, Any]], list[ImageError]]:
    """Detect objects in image files and folders of them.

    Returns, and writes to detections.json in `output`, an entry an image: its file, its picture, and the detections
    that reach the drawing threshold of their class (or `threshold`) as class, score and box x1 y1 x2 y2. Images that
    cannot be read are left out; the errors that name them are returned as well.
    probabilities: of being right take the place of the scores, and `threshold` is one.
    """
    detector = load_run(run, device, precision, probabilities)
    files = image_files(images)
    names = _picture_names(files)
    entries: list[dict[str, Any]] = []
    errors: list[ImageError] = []
    try:
        for file, name in zip(trim_memory(tqdm(files, desc="detect", unit="image")), names, strict=True):
            try:
                image = read_image(file)
            except ImageError as error:
                errors.append(error)
                continue
            shown = detector.detect(image)
            if threshold is None:  # those of the classes are scores, though they be drawn as probabilities
                shown = above_threshold(shown, detector.thresholds)
            if probabilities:
                shown = detector.probabilities(shown)
            if threshold is not None:
                shown = shown[shown.scores >= threshold]
            picture = Path(output) / name
            write_picture(picture, draw_detections(image, shown, detector.classes))
            rows = _as_rows(shown, detector.classes)
            entries.append({"image": str(file), "picture": str(picture), "detections": rows})
    finally:  # after Ctrl-C as well
        if entries or not errors:
            write_json(Path(output) / "detections.json", entries)
    return entries, errors


def above_threshold(detections: Detections, thresholds: Tensor) -> Detections:
    """The detections scoring at least their class's threshold (K,)."""
    return detections[detections.scores >= thresholds[detections.labels - 1]]


def _as_rows(detections: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    columns = (detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist())
    return [{"class": classes[k - 1], "score": score, "box": box} for k, score, box in zip(*columns, strict=True)]


def image_files(paths: Sequence[str]) -> list[Path]:
    """The files, and those in the folders, which have to hold images."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError("no images in the folder", file=path, expected=", ".join(sorted(IMAGE_SUFFIXES)))
            files += inside
        else:
            files.append(path)
    return files


def _picture_names(files: Sequence[Path]) -> list[str]:
    """stem.jpg for each file, numbered where that name is taken."""
    names: dict[str, None] = {}
    for file in files:
        candidates = (f"{file.stem}{f'-{n}' if n > 1 else ''}.jpg" for n in itertools.count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)
