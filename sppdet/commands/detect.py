"""Detect objects in image files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.summary import Summary
from sppdet.config.network import Device, Precision
from sppdet.errors import DataError, ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.runs import Run


def detect(
    run: Run,
    images: list[str],
    *,
    threshold: float | None = None,
    probabilities: bool = False,
    output: str = "runs/detect",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Detect objects in images: pictures with boxes, and the boxes as data.

    Images that cannot be read are left out and reported at the end.

    Args:
        run: run folder or detector file
        images: image files or folders (not recursive)
        threshold: lowest score drawn; by default that of each class
        probabilities: scores are calibrated probabilities of being correct
        output: folder of the pictures and detections.json
    """
    from sppdet.commands.runs import load_run
    from sppdet.drawing.detections import draw_detections, write_picture
    from sppdet.files.atomic import write_json

    detector = load_run(run, device, precision, probabilities)
    files, folder = image_files(images), Path(output)
    names = _picture_names(files)
    entries, errors = list[dict[str, Any]](), list[ImageError]()
    try:
        for i, image in read_images(files, errors, "detect"):
            shown = detector.detect(image)
            if threshold is None:  # class thresholds apply to raw scores, even when probabilities are drawn
                shown = shown.above(detector.thresholds)
            shown = detector.probabilities(shown) if probabilities else shown
            shown = shown if threshold is None else shown.above(threshold)
            picture = folder / names[i]
            write_picture(picture, draw_detections(image, shown, detector.classes))
            rows = [{"class": detector.classes[k - 1], "score": s, "box": box.tolist()} for box, k, s in shown]
            entries.append({"image": str(files[i]), "picture": str(picture), "detections": rows})
    finally:  # after Ctrl-C as well
        if entries or not errors:
            write_json(folder / "detections.json", entries)
    lines = [*map(_describe, entries), f"written to {output}"] if entries else []
    return Summary(entries, "\n".join(lines), errors)


def _describe(entry: dict[str, Any]) -> str:
    """Return the line of an image: its file, and the class and score of each detection."""
    names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"])
    return f"{entry['image']}: {names or 'nothing'}"


def image_files(paths: Sequence[str]) -> list[Path]:
    """Return the files, and the images in the folders. Raises DataError for a folder without images."""
    from sppdet.data.files import is_image
    from sppdet.images import IMAGE_SUFFIXES

    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if is_image(p.name))
            if not inside:
                raise DataError("no images in the folder", file=path, expected=", ".join(IMAGE_SUFFIXES))
            files += inside
        else:
            files.append(path)
    return files


def read_images(files: Sequence[Path], errors: list[ImageError], title: str) -> Iterator[tuple[int, Tensor]]:
    """Yield the index and the pixels of each file that can be read; the errors of the others are added to `errors`."""
    from tqdm import tqdm

    from sppdet.images import read_image
    from sppdet.runtime.memory import trim_memory

    for i, file in enumerate(trim_memory(tqdm(files, desc=title, unit="image"))):
        try:
            image = read_image(file)
        except ImageError as error:
            errors.append(error)
        else:
            yield i, image


def _picture_names(files: Sequence[Path]) -> list[str]:
    """Return stem.jpg for each file, numbered if that name is taken."""
    names: dict[str, None] = {}
    for file in files:
        candidates = (f"{file.stem}{f'-{n}' if n > 1 else ''}.jpg" for n in itertools.count(1))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)
