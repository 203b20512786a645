"""Detect objects in image files."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.summary import Summary
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError, DataError, ImageError, SppdetError
from sppdet.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.runs import Run

logger = logging.getLogger(__name__)


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

    Images that cannot be read are left out and reported at the end. Pictures of earlier detections in the same folder
    are removed.

    Args:
        run: run folder or detector file
        images: image files or folders (images in subfolders are counted only)
        threshold: lowest score drawn; by default that of each class
        probabilities: scores are calibrated probabilities of being correct
        output: folder of the pictures and detections.json
    """
    from sppdet.commands.runs import load_run
    from sppdet.drawing.detections import draw_detections, write_picture

    files, folder = image_files(images), Path(output)  # looked at before the network
    detector = load_run(run, device, precision, probabilities)
    names = _picture_names(files)
    if not {(folder / name).resolve() for name in names}.isdisjoint(file.resolve() for file in files):
        raise ConfigError("pictures would replace images", field="output", expected="another folder", got=output)
    entries, errors = list[dict[str, Any]](), list[ImageError]()
    try:
        for i, image in read_images(files, errors, "detect"):
            shown = detector.detect(image)
            if threshold is None:  # class thresholds apply to raw scores, even when probabilities are drawn
                shown = shown.above(detector.thresholds)
            shown = detector.probabilities(shown) if probabilities else shown
            shown = shown if threshold is None else shown.above(threshold)
            picture = folder / names[i]
            rows = [{"class": detector.classes[k - 1], "score": s, "box": box.tolist()} for box, k, s in shown]
            entries.append({"image": str(files[i]), "picture": str(picture), "detections": rows})
            write_picture(picture, draw_detections(image, shown, detector.classes))
    finally:  # after Ctrl-C as well
        if entries or not errors:
            _write_entries(folder, entries, files)
    lines = [*map(_describe, entries), f"written to {output}"] if entries else []
    return Summary(entries, "\n".join(lines), errors)


def _write_entries(folder: Path, entries: list[dict[str, Any]], files: Sequence[Path]) -> None:
    """Write detections.json of the pictures that are there, and remove those of the detections that it replaces.

    files: the images, which stay even if they are such pictures.
    """
    from sppdet.files.atomic import read_json, write_json

    file = folder / "detections.json"
    try:
        earlier = {folder / Path(entry["picture"]).name for entry in read_json(file)}
    except (SppdetError, TypeError, KeyError):  # none, or JSON of something else
        earlier = set()
    write_json(file, [entry for entry in entries if Path(entry["picture"]).is_file()])
    images, new = ({path.resolve() for path in paths} for paths in (files, (Path(e["picture"]) for e in entries)))
    replaced = [picture for picture in earlier if picture.is_file() and picture.resolve() not in images]
    for picture in replaced:
        if picture.resolve() not in new:
            picture.unlink()
    if replaced:
        logger.info("replaced %s of an earlier detect in %s", counted(len(replaced), "picture"), folder)


def _describe(entry: dict[str, Any]) -> str:
    """Return the line of an image: its file, and the class and score of each detection."""
    names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"])
    return f"{entry['image']}: {names or 'nothing'}"


def image_files(paths: Sequence[str]) -> list[Path]:
    """Return the files, and the images in the folders, without those in subfolders, which a warning counts.

    Raises DataError for a folder without images.
    """
    from sppdet.data.files import list_images
    from sppdet.images import IMAGE_SUFFIXES

    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            every = list_images(path)
            inside = sorted(file for file in every if file.parent == path)
            deeper = counted(len(every) - len(inside), "image") + " in subfolders"
            if not inside:
                raise DataError("no images in the folder", file=path, expected=", ".join(IMAGE_SUFFIXES), got=deeper)
            if len(every) > len(inside):
                logger.warning("%s: %s left out: give the subfolders as well, such as %s", path, deeper, path / "*/")
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
