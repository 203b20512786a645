"""Detections of the shards of a data set: one file each, with the ids of its images, merged when they are read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sppdet.config.shard import Shard
from sppdet.data.files import is_hidden
from sppdet.data.results.ids import image_ids
from sppdet.errors import DataError
from sppdet.files.atomic import read_json, write_lines
from sppdet.structures import Dataset
from sppdet.wording import counted

NAMED = 5  # images that an error names


def shard_files(folder: Path) -> list[Path]:
    """Return the files of shards in a folder, shard-<i>-of-<n>.json."""
    return sorted(file for file in folder.glob("shard-*-of-*.json") if not is_hidden(file.name))


def write_shard(
    folder: Path, shard: Shard, lines: Iterable[str], dataset: Dataset, made_by: Mapping[str, str | None]
) -> Path:
    """Write COCO results, JSON entries, of the images of a shard, and return the file; made_by: their detector."""
    head = {"shard": str(shard), "made_by": made_by, "images": [image.id for image in dataset.images]}
    file = folder / f"{shard.name}.json"
    write_lines(file, json.dumps(head)[:-1] + ', "annotations": [\n', lines, "\n]}\n")
    return file


def merge_shards(
    folder: Path, files: Sequence[Path], dataset: Dataset, made_by: Mapping[str, str | None] | None = None
) -> list[Any]:
    """Return the COCO results of all shards.

    Raises DataError unless they have each image of `dataset` once and no other, and were all made by the same detector
    in the same way, and that of `made_by`.
    """
    contents = []
    for file in files:
        content = read_json(file)
        parts = (content.get("images"), content.get("annotations")) if isinstance(content, dict) else (None, None)
        if not all(isinstance(part, list) for part in parts):
            raise DataError("is not a shard of detections", file=file, expected="an object: images, annotations")
        contents.append(content)
        if content.get("made_by") != (first := contents[0].get("made_by")):
            expected, got = (json.dumps(one.get("made_by")) for one in (contents[0], content))
            reason = f"made in another way than {files[0].name}"
            raise DataError(reason, file=file, field="made_by", expected=expected, got=got)
        if made_by and not (isinstance(first, dict) and made_by.items() <= first.items()):
            expected = "this run and these proposals"
            raise DataError("made by another detector or of other proposals", file=file, expected=expected)
    known, unknown = image_ids(dataset), list[str]()
    places: list[list[str]] = [[] for _ in dataset.images]
    for file, content in zip(files, contents, strict=True):
        for id in content["images"]:
            position = known.find(id)
            if position is None:
                unknown.append(str(id))
            else:
                places[position].append(file.stem)
    names = [str(image.id) for image in dataset.images]
    ids = [f"{name} ({', '.join(its)})" if its else name for name, its in zip(names, places, strict=True)]
    faults = {
        "missing": [id for id, its in zip(ids, places, strict=True) if not its],
        "twice": [id for id, its in zip(ids, places, strict=True) if len(its) > 1],
        "of other data": unknown,
    }
    got = "; ".join(f"{counted(len(those), 'image')} {how}: {_names(those)}" for how, those in faults.items() if those)
    if got:
        raise DataError(f"shards do not hold each of {counted(len(ids), 'image')} once", file=folder, got=got)
    return [entry for content in contents for entry in content["annotations"]]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
