"""Detection files in the two common formats: COCO results (JSON) and the VOC devkit's comp4 files."""

import json
import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch

from sppdet.data.files import composed, fits_file_name, is_hidden, read_text
from sppdet.data.results.ids import Ids, category_ids, image_ids
from sppdet.data.results.plausible import check_boxes_fit, check_classes_fit
from sppdet.data.results.shards import merge_shards, shard_files
from sppdet.errors import DataError
from sppdet.files.atomic import read_json, reading_failed, write_lines, write_text
from sppdet.files.bounded_json import JSONList
from sppdet.structures import Dataset, Detections, check_detections
from sppdet.wording import counted

logger = logging.getLogger(__name__)

EMPTY_FRACTION = 0.1  # of images without detections; above it the file is probably of another split
LARGEST_FLOAT32 = torch.finfo(torch.float32).max


Box = tuple[float, float, float, float]


class Row(NamedTuple):
    """One detection: index of the image in the data set, label 1..K, score, x1 y1 x2 y2 (0-based, half-open)."""

    position: int
    label: int
    score: float
    box: Box


class Place(NamedTuple):
    """A line or entry of a file. The methods check its fields, and name place and field in a DataError."""

    file: Path
    name: str

    def look_up(self, field: str, key: Any, known: Ids, keys: Iterable[Any]) -> int:
        """Return the index of an id; the error counts how many of all `keys` are not known."""
        index = known.find(key)
        if index is None:
            unknown = [known.find(one) is None for one in keys]
            self.reject(field, f"one of {known}", key, f"is not of the data, as {sum(unknown)} of {len(unknown)} here")
        return index

    def number(self, field: str, value: Any) -> float:
        """Return a JSON number or a text field as a number that is finite in float32."""
        try:
            wrong = isinstance(value, bool) or "_" in str(value)  # Python reads 1_0 as 10
            number = float("nan") if wrong else float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not abs(number) <= LARGEST_FLOAT32:
            self.reject(field, "a finite number", value)
        return number

    def box(self, field: str, got: object, x1: float, y1: float, x2: float, y2: float) -> Box:
        if not (x1 <= x2 <= LARGEST_FLOAT32 and y1 <= y2 <= LARGEST_FLOAT32):
            self.reject(field, "a width and height of at least 0", got)
        return x1, y1, x2, y2

    def reject(self, field: str, expected: str, got: object, reason: str = "cannot be used") -> NoReturn:
        where = f"{self.name}, {field}" if field else self.name
        shown = "null" if got is None else repr(got)
        raise DataError(reason, file=self.file, field=where, expected=expected, got=shown)


def write_coco_results(path: str | PathLike[str], detections: Sequence[Detections], dataset: Dataset) -> None:
    """Write a JSON list of {image_id, category_id, bbox: x y width height, score}, one entry per line.

    Ids are those of the data set. Numbers are written in full, so that reading gives the same float32.
    """
    write_lines(path, "[\n", coco_lines(detections, dataset), "\n]\n")


def coco_lines(detections: Sequence[Detections], dataset: Dataset) -> Iterator[str]:
    """Yield the JSON of each entry of COCO results."""
    check_detections(detections, dataset.images, dataset.classes)
    for position, label, score, (x1, y1, x2, y2) in _rows(detections):
        ids = {"image_id": dataset.images[position].id, "category_id": dataset.category_ids[label - 1]}
        yield json.dumps({**ids, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})


def write_voc_results(
    folder: str | PathLike[str], detections: Sequence[Detections], dataset: Dataset, split: str
) -> None:
    """Write comp4_det_<split>_<class>.txt for every class, lines "id score x1 y1 x2 y2" with 1-based inclusive corners.

    Numbers are written in full: reading gives the same float32 (coordinates under 2^-29 pixels round to 0). If a class
    name cannot be part of a file name (it has a slash, say), a warning is logged and nothing is written.
    """
    check_detections(detections, dataset.images, dataset.classes)
    unusable = [name for name in dataset.classes if not fits_file_name(name)]
    if unusable:
        logger.warning("%s: not written, as class %r cannot be part of a file name", folder, unusable[0])
        return
    columns = [(array("q"), array("f")) for _ in dataset.classes]  # of each class: image; score and box
    for position, label, score, box in _rows(detections):
        positions, numbers = columns[label - 1]
        positions.append(position)
        numbers.extend((score, *box))
    for name, (positions, numbers) in zip(dataset.classes, columns, strict=True):
        lines = []
        for position, score, x1, y1, x2, y2 in zip(positions, *[iter(numbers)] * 5, strict=True):
            shown = " ".join(map(repr, (score, x1 + 1, y1 + 1, x2, y2)))
            lines.append(f"{dataset.images[position].id} {shown}\n")
        write_text(Path(folder) / f"comp4_det_{split}_{name}.txt", "".join(lines))


def read_results(
    path: str | PathLike[str], dataset: Dataset, origin: Mapping[str, str | None] | None = None
) -> list[Detections]:
    """Read a COCO results file, or a folder of comp4 files or of shards: detections of each of `dataset.images`, best
    score first.

    Image ids may be those of the data set, their numbers (5 for "000005", 2008000002 for "2008_000002"), or names and
    paths of the files; categories ids or names. A class without a comp4 file has no detections. origin: of which
    detector and proposals shards must be. Warnings are logged if many images have no detections, and as in
    `data.results.plausible`. Raises DataError that names file, line or entry, and field for an unknown image or class
    and for values that are not numbers or not a box, and as `merge_shards` does.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    shards = shard_files(path)
    if origin and not shards:
        raise DataError("no shards of a run's detections in this folder", file=path, expected="shard-<i>-of-<n>.json")
    if shards:
        rows = _read_coco(path, merge_shards(path, shards, dataset, origin), dataset)
    else:
        rows = _read_voc_folder(path, dataset) if path.is_dir() else _read_coco(path, _entries_of(path), dataset)
    detections = _sort(rows, len(dataset))
    empty = sum(not len(one) for one in detections)
    if empty > EMPTY_FRACTION * len(detections):
        logger.warning("%s: %d of %s have no detections", path, empty, counted(len(detections), "image"))
    check_boxes_fit(path, detections, dataset, corners=path.is_dir() and not shards)
    check_classes_fit(path, detections, dataset)
    return detections


def _rows(detections: Sequence[Detections]) -> Iterator[Row]:
    for position, part in enumerate(detections):
        columns = part.labels.tolist(), part.scores.tolist(), part.boxes.tolist()
        for label, score, (x1, y1, x2, y2) in zip(*columns, strict=True):
            yield Row(position, label, score, (x1, y1, x2, y2))


def _sort(rows: Iterable[Row], images: int) -> list[Detections]:
    """Return the detections of each image, best score first. A row takes 36 bytes, twice while they are sorted."""
    positions, labels, numbers = array("q"), array("q"), array("f")  # score and box
    for row in rows:
        positions.append(row.position)
        labels.append(row.label)
        numbers.append(row.score)
        numbers.extend(row.box)
    place, columns = np.array(positions), np.array(numbers, dtype=np.float32).reshape(-1, 5)
    del numbers, positions
    order = np.lexsort((-columns[:, 0], place))
    counts = np.bincount(place, minlength=images).tolist()
    of_labels = torch.from_numpy(np.array(labels, dtype=np.int64)[order]).split(counts)
    scores = torch.from_numpy(columns[order, 0]).split(counts)
    boxes = torch.from_numpy(columns[:, 1:][order]).split(counts)
    return [Detections(*three) for three in zip(boxes, of_labels, scores, strict=True)]


def _entries_of(path: Path) -> Any:
    return JSONList.find(path) or read_json(path)


def _read_coco(path: Path, entries: Any, dataset: Dataset) -> Iterator[Row]:
    if isinstance(entries, dict):
        entries = entries.get("annotations", entries)
    if not isinstance(entries, (list, JSONList)):
        raise DataError("not COCO results", file=path, expected="a list of detections", got=type(entries).__name__)
    images, categories = image_ids(dataset), category_ids(dataset)
    for number, entry in enumerate(_parsed(path, entries)):
        place = Place(path, f"entry {number}")
        if not isinstance(entry, dict):
            place.reject("", "an object", entry)
        missing = [key for key in ("image_id", "category_id", "bbox", "score") if key not in entry]
        if missing:
            expected = "image_id, category_id, bbox and score"
            raise DataError("missing", file=path, field=f"{place.name}, {missing[0]}", expected=expected)
        position = place.look_up("image_id", entry["image_id"], images, _keys(path, entries, "image_id"))
        keys = _keys(path, entries, "category_id")
        label = 1 + place.look_up("category_id", entry["category_id"], categories, keys)
        box = entry["bbox"]
        if not isinstance(box, list) or len(box) != 4:
            place.reject("bbox", "x y width height", box)
        x, y, width, height = (place.number("bbox", value) for value in box)
        score = place.number("score", entry["score"])
        yield Row(position, label, score, place.box("bbox", box, x, y, x + width, y + height))


def _keys(path: Path, entries: Iterable[Any], key: str) -> Iterator[Any]:
    return (one.get(key) for one in _parsed(path, entries) if isinstance(one, dict))


def _parsed(path: Path, entries: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from entries
    except OSError as error:
        raise DataError(reading_failed(error), file=path) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", file=path) from error


def _read_voc_folder(folder: Path, dataset: Dataset) -> Iterator[Row]:
    files = _class_files(folder, dataset.classes)
    images = image_ids(dataset)
    for label, file in sorted(files.items()):
        lines = read_text(file).splitlines()
        keys = (one.rsplit(maxsplit=5)[0] for one in lines if one.strip())
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = Place(file, f"line {number}")
            fields = line.rsplit(maxsplit=5)  # from the right: an id may contain spaces
            if len(fields) != 6:
                place.reject("", "id score x1 y1 x2 y2", line)
            position = place.look_up("id", fields[0].strip(), images, keys)
            score, x1, y1, x2, y2 = map(place.number, ("score", "x1", "y1", "x2", "y2"), fields[1:])
            yield Row(position, label, score, place.box("x1 y1 x2 y2", fields[2:], x1 - 1, y1 - 1, x2, y2))


def comp4_files(folder: Path) -> list[Path]:
    """Return the files of detections in a folder, one per class: comp4_det_<split>_<class>.txt, or as SSD det_…"""
    return sorted(file for file in folder.glob("*det_*.txt") if not is_hidden(file.name))


def _class_files(folder: Path, classes: Sequence[str]) -> dict[int, Path]:
    """Return the file of each label: the file name ends in "_" and the class, the longest name that fits."""
    files: dict[int, Path] = {}
    for file in comp4_files(folder):
        known = [k for k, name in enumerate(classes, start=1) if composed(file.stem).endswith(f"_{composed(name)}")]
        if not known:
            raise DataError("the file name ends in no known class", file=file, expected=tuple(classes))
        label = max(known, key=lambda label: len(classes[label - 1]))
        if label in files:
            raise DataError(f"a second file of class {classes[label - 1]}", file=file, got=f"also {files[label].name}")
        files[label] = file
    if not files:
        raise DataError("no detections in this folder", file=folder, expected="comp4_det_<split>_<class>.txt")
    return files
