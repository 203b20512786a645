"""Detect objects in images and videos."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.detection_files import Format
from sppdet.commands.summary import Summary
from sppdet.config.network import Device, Precision
from sppdet.config.shard import read_shard
from sppdet.errors import ConfigError, ImageError
from sppdet.runtime.progress import Stage, plan, progress
from sppdet.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.inputs import Run
    from sppdet.detector import Detector
    from sppdet.structures import Detections
    from sppdet.videos import Video

logger = logging.getLogger(__name__)

IMAGE_SECONDS = 0.5  # with SqueezeNet and 1,000 proposals on 2 cores
HIDDEN = 100  # pixels of the side of objects that are missed, from which a warning says so
Find = Callable[["Tensor"], "Detections"]


def detect(
    run: Run,
    images: list[str],
    *,
    recursive: bool = False,
    classes: list[str | int] | None = None,
    threshold: float | None = None,
    probabilities: bool | None = None,
    tile: int | None = None,
    every: int = 1,
    formats: list[Format] | None = None,
    save_crops: bool = False,
    shard: str | None = None,
    output: str = "runs/detect",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Detect objects in images and videos: pictures with boxes, and the boxes as data.

    Images and videos that cannot be read are left out and reported at the end. Pictures of earlier detections in the
    same folder are removed, other files there are kept: one with the name of a picture is an error. Ctrl-C ends a
    webcam or stream.

    Example: sppdet detect runs/mine photo.jpg holiday/ --output runs/pictures

    Args:
        run: run folder or detector file
        images: images, videos, folders, patterns ('photos/**/*.jpg'), a webcam (0) or a stream's address
        recursive: images and videos in subfolders too
        classes: classes to look for, such as [dog,cat]; by default all
        threshold: lowest score drawn; by default that of each class
        probabilities: scores are probabilities of being correct; default: if the detector is calibrated
        tile: side of overlapping tiles in pixels, for small objects in large images
        every: of a video, every so many frames
        formats: also as [csv], or as data sets to correct: [voc,coco,yolo]
        save_crops: each object as an image of its own, in OUTPUT/crops/CLASS
        shard: i/n: only images i modulo n, to OUTPUT/shard-i-of-n; default: RANK/WORLD_SIZE
        output: folder of the pictures and detections.json
    """
    from sppdet.commands.detection_files import DetectionFiles, check_suffixes
    from sppdet.commands.inputs import load_run
    from sppdet.commands.sources import find_sources, picture_names, read_images
    from sppdet.files.durable import temporary_folder
    from sppdet.files.owned import hold_folder
    from sppdet.videos import Video

    if every < 1:
        raise ConfigError("out of range", field="every", expected="1 or more", got=every)
    files, videos = find_sources(images, recursive)  # looked at before the network
    check_suffixes(files, formats or ())
    folder, names = Path(output), picture_names(files, videos)
    if part := read_shard(shard, launched=True):
        names = [*part.select(names[: len(files)]), *part.select(names[len(files) :])]
        folder, files, videos = folder / part.name, part.select(files), part.select(videos)
    sources = [*files, *map(Path, videos)]
    if not {(folder / name).resolve() for name in names}.isdisjoint(file.resolve() for file in sources):
        raise ConfigError("pictures would replace images", field="output", expected="another folder", got=output)
    errors: list[ImageError] = []
    stages = _stages(files, videos, every)
    with hold_folder(folder, "detection") as owned, temporary_folder(folder) as frames, plan(*stages):
        detector = load_run(run, device, precision, bool(probabilities))
        if probabilities is None:
            probabilities = detector.calibration is not None
        find = _finder(detector, classes, threshold, probabilities, tile)
        raw = "softmax" if detector.heads.kind == "softmax" else "margin"
        scores = "probability" if probabilities else raw
        # Once nothing but the images can fail: names that are claimed may be replaced later.
        written = DetectionFiles(owned, names, detector.classes, scores, formats or (), save_crops, frames)
        try:
            for i, image in read_images(files, errors, "detect"):
                written.add_image(files[i], names[i], image, find(image))
            for source, name in zip(videos, names[len(files) :], strict=True):
                try:
                    video = Video(source)
                    written.add_video(video, name, _look_through(video, find, every), every)
                except ImageError as error:
                    errors.append(error)
        finally:  # after Ctrl-C as well
            written.finish(sources)
    lines = [*map(_describe, written.entries), f"written to {folder}"] if written.entries else []
    return Summary(written.entries, "\n".join(lines), errors)


def _finder(
    detector: Detector,
    classes: Sequence[str | int] | None,
    threshold: float | None,
    probabilities: bool,
    tile: int | None,
) -> Find:
    """Return a function that finds what is to be drawn on an image. Raises ConfigError for values that cannot be."""
    import torch

    from sppdet.tiles import check_side, detect_tiled

    if threshold is not None and probabilities and not 0 <= threshold <= 1:
        raise ConfigError("no probability", field="threshold", expected="0 to 1 (50% is 0.5)", got=threshold)
    if tile is not None:
        check_side(tile)
    wanted = [*map(str, classes or ())]
    unknown = [name for name in wanted if name not in detector.classes]
    if unknown:
        raise ConfigError("no such class", field="classes", expected=tuple(detector.classes), got=unknown[0])
    labels = torch.tensor([detector.classes.index(name) + 1 for name in wanted])
    proposals = detector.config.proposals
    least = proposals.min_side / proposals.width if proposals.width else 0.0  # of the width, that objects need

    def find(image: Tensor) -> Detections:
        if tile is None and least * image.shape[2] > HIDDEN:
            logger.warning("large images: objects under %.3g%% of their width are missed without --tile", 100 * least)
        found = detector.detect(image) if tile is None else detect_tiled(detector, image, tile)
        if wanted:
            found = found[torch.isin(found.labels, labels)]
        if threshold is None:  # class thresholds apply to raw scores, even when probabilities are drawn
            found = found.above(detector.thresholds)
        found = detector.probabilities(found) if probabilities else found
        return found if threshold is None else found.above(threshold)

    return find


def _stages(files: Sequence[Path], videos: Sequence[str], every: int) -> Iterator[Stage]:
    """Yield the stage of the images, and that of each video."""
    from sppdet.videos import Video, is_live

    if files:
        yield Stage("detect", len(files), IMAGE_SECONDS)
    for source in videos:
        count = None
        with suppress(ImageError):  # it is reported in its turn
            count = None if is_live(source) else Video(source).count
        yield Stage(Path(source).name, ceil((count or 0) / every), IMAGE_SECONDS)


def _look_through(video: Video, find: Find, every: int) -> Iterator[tuple[int, Tensor, Detections]]:
    """Yield the number, pixels and detections of every so many frames, with a bar."""
    from sppdet.runtime.memory import trim_memory

    total = ceil(video.count / every) if video.count else None
    frames = progress(video.frames(every), Path(video.name).name, total, "frame")
    for number, image in trim_memory(frames):
        yield number, image, find(image)


def _describe(entry: dict[str, Any]) -> str:
    """Return the line of an image: its file, and the class and score of each detection; of a video the frames in which
    a class was found."""
    if "image" in entry:
        names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"])
        return f"{entry['image']}: {names or 'nothing'}"
    pairs = dict.fromkeys((row["frame"], row["class"]) for row in entry["detections"])
    counts = Counter(name for _, name in pairs).most_common()
    frames = ", ".join(f"{name} in {number}" for name, number in counts)
    return f"{entry['video']}: {counted(entry['frames'], 'frame')}, {frames or 'nothing'}"
