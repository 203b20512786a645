"""Detect objects in image files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.summary import Summary
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError, DataError, ImageError
from sppdet.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.inputs import Run
    from sppdet.files.owned import OwnedFolder

logger = logging.getLogger(__name__)

RESULT = "detections.json"


def detect(
    run: Run,
    images: list[str],
    *,
    threshold: float | None = None,
    probabilities: bool | None = None,
    output: str = "runs/detect",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Detect objects in images: pictures with boxes, and the boxes as data.

    Images that cannot be read are left out and reported at the end. Pictures of earlier detections in the same folder
    are removed, other files there are kept: one with the name of a picture is an error.

    Args:
        run: run folder or detector file
        images: image files or folders (images in subfolders are counted only)
        threshold: lowest score drawn; by default that of each class
        probabilities: scores are probabilities of being correct; default: if the detector is calibrated
        output: folder of the pictures and detections.json
    """
    from sppdet.commands.inputs import load_run
    from sppdet.drawing.detections import draw_enlarged, write_picture
    from sppdet.files.owned import hold_folder

    files, folder = image_files(images), Path(output)  # looked at before the network
    names = _picture_names(files)
    if not {(folder / name).resolve() for name in names}.isdisjoint(file.resolve() for file in files):
        raise ConfigError("pictures would replace images", field="output", expected="another folder", got=output)
    entries, errors = list[dict[str, Any]](), list[ImageError]()
    with hold_folder(folder, "detection") as owned:
        earlier = owned.files()
        detector = load_run(run, device, precision, bool(probabilities))
        if probabilities is None:
            probabilities = detector.calibration is not None
        raw = "softmax" if detector.heads.kind == "softmax" else "margin"
        scores = {"scores": "probability" if probabilities else raw}
        owned.claim([*names, RESULT])  # once nothing but the images can fail: what is claimed may be replaced later
        try:
            for i, image in read_images(files, errors, "detect"):
                shown = detector.detect(image)
                if threshold is None:  # class thresholds apply to raw scores, even when probabilities are drawn
                    shown = shown.above(detector.thresholds)
                shown = detector.probabilities(shown) if probabilities else shown
                shown = shown if threshold is None else shown.above(threshold)
                picture = folder / names[i]
                rows = [{"class": detector.classes[k - 1], "score": s, "box": box.tolist()} for box, k, s in shown]
                entries.append({"image": str(files[i]), "picture": str(picture), **scores, "detections": rows})
                write_picture(picture, draw_enlarged(image, shown, detector.classes))
        finally:  # after Ctrl-C as well
            if entries or not errors:
                _write_entries(owned, entries, files, earlier)
            else:
                owned.record(earlier)
    lines = [*map(_describe, entries), f"written to {output}"] if entries else []
    return Summary(entries, "\n".join(lines), errors)


def _write_entries(
    owned: OwnedFolder, entries: list[dict[str, Any]], files: Sequence[Path], earlier: Iterable[str]
) -> None:
    """Write detections.json of the pictures that are there, and remove those of the detections that it replaces.

    files: the images, which stay even if they are such pictures. earlier: names of the files of those detections.
    """
    from sppdet.files.atomic import write_json

    written = [entry for entry in entries if Path(entry["picture"]).is_file()]
    write_json(owned.path / RESULT, written)
    new, images = {Path(entry["picture"]).name for entry in written}, {file.resolve() for file in files}
    pictures = [owned.path / name for name in earlier if name != RESULT]
    replaced = [picture for picture in pictures if picture.is_file() and picture.resolve() not in images]
    for picture in replaced:
        if picture.name not in new:
            picture.unlink()
    owned.record({*new, RESULT})
    if replaced:
        logger.info("replaced %s of an earlier detect in %s", counted(len(replaced), "picture"), owned.path)


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
    from sppdet.data.files import file_names

    return [f"{name}.jpg" for name in file_names([file.stem for file in files])]
