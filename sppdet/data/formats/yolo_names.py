"""Names of the classes and lists of the images of a data set in YOLO format: data.yaml, classes.txt, obj.names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sppdet.config.yaml import load_yaml
from sppdet.data.files import is_hidden, read_text
from sppdet.data.formats.image_index import ImageIndex
from sppdet.data.splits import SYNONYMS
from sppdet.errors import DataError

NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt", "train/classes.txt", "classes.names")


def find_yaml(root: Path) -> Path | None:
    """Return the YAML file of a folder that has names of classes, None if there is none."""
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        if not is_hidden(path.name) and "names" in _load(path):
            return path
    return None


def read_names(root: Path, yaml: Path | None) -> tuple[str, ...] | None:
    """Return the names of the classes in the order of their numbers, None if no file says.

    Raises DataError if they are not names, or not unique.
    """
    file = yaml or next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        return None
    names = _names_of_yaml(file) if yaml else [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise DataError("names must be unique, at least one", file=file, field="names", got=", ".join(names))
    return tuple(names)


def splits_of_yaml(yaml: Path, images: Sequence[Path]) -> dict[str, set[Path]]:
    """Return the images in the folders or lists that a YAML file names; without those that are not there.

    Raises DataError for a list that lies outside of the folder of the file.
    """
    content, index = _load(yaml), ImageIndex(yaml.parent, images)
    resolved = [(path, path.resolve()) for path in images]
    splits = {}
    for names in SYNONYMS:
        value = next((content[name] for name in names if content.get(name)), None)
        found: set[Path] = set()
        for entry in value if isinstance(value, list) else [value] if value else []:
            for place in _places(yaml.parent, str(content.get("path") or ""), str(entry)):
                inside = place.resolve()
                here = {path for path, full in resolved if full.is_relative_to(inside)}
                if place.is_file():
                    if not inside.is_relative_to(yaml.parent.resolve()):
                        raise DataError("names a list outside of its folder", file=yaml, field=names[0], got=entry)
                    here = _listed(place, index)
                if here:
                    found |= here
                    break
        if found:
            splits[names[0]] = found
    return splits


def splits_of_lists(root: Path, images: Sequence[Path]) -> dict[str, set[Path]]:
    """Return the images in the lists of a folder: train.txt, val.txt or valid.txt, test.txt."""
    index, splits = ImageIndex(root, images), {}
    for names in SYNONYMS:
        lists = [root / f"{name}.txt" for name in names if (root / f"{name}.txt").is_file()]
        found = set().union(*(_listed(path, index) for path in lists))
        if found:
            splits[names[0]] = found
    return splits


def _load(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file with all values as text, so that a class may be named yes or 0."""
    import yaml

    try:
        content = load_yaml(read_text(path), as_text=True)
    except yaml.YAMLError as error:
        raise DataError(f"is not YAML: {' '.join(str(error).split())}", file=path) from error
    return content if isinstance(content, dict) else {}


def _names_of_yaml(path: Path) -> list[str]:
    names = _load(path)["names"]
    if isinstance(names, dict):
        try:
            names = [names[key] for key in sorted(names, key=int)]
        except (TypeError, ValueError):
            names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("not names", file=path, field="names", expected="[name, ...] or {0: name, ...}")
    return names


def _places(folder: Path, base: str, entry: str) -> list[Path]:
    """Return the places that an entry may mean below the folder of its file, though written for another computer."""
    entry, base = entry.replace("\\", "/"), base.replace("\\", "/")
    parts = [part for part in entry.split("/") if part not in ("", ".", "..")]
    below = [Path(*parts[i:]) for i in range(len(parts))]  # data/set/train/images, set/train/images, ...
    places = folder / base / entry, folder / entry, *(folder / path for path in below)
    return [place for place in places if os.path.exists(place)]  # that of Path fails for a name that is too long


def _listed(file: Path, index: ImageIndex) -> set[Path]:
    lines = [line.strip() for line in read_text(file).splitlines()]
    found = (index.find(line) for line in lines if line)
    return {path for path in found if path}
