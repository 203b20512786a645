"""Detect objects in image files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.config.network import Device, Precision
from sppdet.errors import DataError, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.runs import Run
    from sppdet.detector import Detector
    from sppdet.structures import Detections


@dataclass(frozen=True)
class DetectedImages:
    """Detections in image files.

    images: one entry per image: `image`, `picture` (files) and `detections` (class, score, box x1 y1 x2 y2).
    errors: of the images that could not be read. folder: where the pictures and detections.json are.
    """

    images: list[dict[str, Any]]
    errors: list[ImageError]
    folder: Path

    def as_dict(self) -> list[dict[str, Any]]:
        """Return the entries, which are the JSON output."""
        return self.images

    def __str__(self) -> str:
        lines = []
        for entry in self.images:
            names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"]) or "nothing"
            lines.append(f"{entry['image']}: {names}")
        return "\n".join([*lines, f"written to {self.folder}"]) if lines else ""


def detect(
    run: Run,
    images: list[str],
    *,
    threshold: float | None = None,
    probabilities: bool = False,
    output: str = "runs/detect",
    device: Device = "cpu",
    precision: Precision = "fp32",
) -> DetectedImages:
    """Detect objects in images: pictures with boxes, and the boxes as data.

    Images that cannot be read are left out and reported at the end.

    JSON: a list with an entry per image: image, picture (files), detections (class, score, box: x1, y1, x2, y2 in
    pixels). The same is written to detections.json in the output folder.

    Args:
        run: run folder or detector file
        images: image files or folders (not recursive)
        threshold: lowest score drawn; by default that of each class
        probabilities: scores are calibrated probabilities of being correct
        output: folder of the pictures and detections.json
        device: cpu or cuda
        precision: precision of the convolutions: fp32, bf16 or fp16
    """
    from tqdm import tqdm

    from sppdet.commands.runs import load_run
    from sppdet.drawing.detections import draw_detections, write_picture
    from sppdet.files.atomic import write_json
    from sppdet.images import read_image
    from sppdet.runtime.memory import trim_memory

    detector = load_run(run, device, precision, probabilities)
    files = image_files(images)
    names = _picture_names(files)
    result = DetectedImages([], [], Path(output))
    try:
        for file, name in zip(trim_memory(tqdm(files, desc="detect", unit="image")), names, strict=True):
            try:
                image = read_image(file)
            except ImageError as error:
                result.errors.append(error)
                continue
            shown = _detect(detector, image, threshold, probabilities)
            write_picture(result.folder / name, draw_detections(image, shown, detector.classes))
            rows = _as_rows(shown, detector.classes)
            result.images.append({"image": str(file), "picture": str(result.folder / name), "detections": rows})
    finally:  # after Ctrl-C as well
        if result.images or not result.errors:
            write_json(result.folder / "detections.json", result.images)
    return result


def _detect(detector: Detector, image: Tensor, threshold: float | None, probabilities: bool) -> Detections:
    """Return the detections to draw."""
    found = detector.detect(image)
    if threshold is None:  # class thresholds apply to raw scores, even when probabilities are drawn
        found = found.above(detector.thresholds)
    if probabilities:
        found = detector.probabilities(found)
    return found if threshold is None else found.above(threshold)


def _as_rows(detections: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    columns = (detections.labels.tolist(), detections.scores.tolist(), detections.boxes.tolist())
    return [{"class": classes[k - 1], "score": score, "box": box} for k, score, box in zip(*columns, strict=True)]


def image_files(paths: Sequence[str]) -> list[Path]:
    """Return the files, and the images in the folders. Raises DataError for a folder without images."""
    from sppdet.images import IMAGE_SUFFIXES

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
    """Return stem.jpg for each file, numbered if that name is taken."""
    names: dict[str, None] = {}
    for file in files:
        candidates = (f"{file.stem}{f'-{n}' if n > 1 else ''}.jpg" for n in itertools.count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)
