"""The division of data without splits into train, val and test."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sppdet.data.files import composed, short_names
from sppdet.data.records import AnnotatedImage
from sppdet.data.splits import PARTS, choose_splits, missing_split
from sppdet.errors import DataError
from sppdet.files.atomic import read_json

Division = dict[str, list[str]]  # the names of the images of train, val and test


def image_names(images: Sequence[AnnotatedImage], root: Path) -> list[str]:
    """Return a name of each image that does not depend on the format: its file's without suffix, if no other has it."""
    keys = [composed(_relative(image.path, root).with_suffix("").as_posix()) for image in images]
    names = short_names(keys)
    return [names[key] for key in keys]


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def divide(names: Sequence[str], classes: Sequence[frozenset[str]], fractions: Sequence[float], seed: int) -> Division:
    """Divide images into train, val and test at random, so that each part has its fraction of every class.

    classes: the classes of the objects of each image. Depends on the names, the classes and the seed, not on the order.
    An image counts for its rarest class. A class of few images has one in each part before any has two.
    """
    division: Division = {part: [] for part in PARTS}
    for group in _shuffled_groups(names, classes, seed):
        for part, size in zip(PARTS, _sizes(len(group), fractions), strict=True):
            division[part] += group[:size]
            group = group[size:]
    return {part: sorted(division[part]) for part in PARTS}


def mix(names: Sequence[str], classes: Sequence[frozenset[str]], seed: int) -> list[str]:
    """Return the names, each once, in random order, so that the first n have their fraction of every class, for any n.

    Takes the arguments of `divide`, and an image counts for its rarest class here as well: of the class's m images the
    i-th stands where (i - 1/2) / m of all names are before it.
    """
    places = {
        name: ((i + 0.5) / len(group), _shuffled(name, seed))
        for group in _shuffled_groups(names, classes, seed)
        for i, name in enumerate(group)
    }
    return sorted(places, key=places.__getitem__)


def _shuffled_groups(names: Sequence[str], classes: Sequence[frozenset[str]], seed: int) -> list[list[str]]:
    """Return the names by the rarest class of their images, "" for none, each group in random order."""
    of_name: dict[str, frozenset[str]] = {}  # a file may be listed under several ids
    for name, each in zip(names, classes, strict=True):
        of_name[name] = of_name.get(name, frozenset()) | each
    counts = Counter(one for each in of_name.values() for one in each)
    groups: dict[str, list[str]] = defaultdict(list)
    for name, each in of_name.items():
        groups[min(each, key=lambda one: (counts[one], one), default="")].append(name)
    return [sorted(group, key=lambda name: _shuffled(name, seed)) for _, group in sorted(groups.items())]


def _shuffled(name: str, seed: int) -> tuple[str, str]:
    return hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogatepass")).hexdigest(), name


def _sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Return the number of images of each part, near its fraction of `count`, but at least one if they suffice.

    Parts with larger fractions come first, of equal ones the later (test).
    """
    exact = [count * fraction / sum(fractions) for fraction in fractions]
    order = sorted((i for i in range(len(exact)) if exact[i]), key=lambda i: (-exact[i], -i))
    sizes = [0] * len(exact)
    for i in order[:count]:
        sizes[i] = 1
    while sum(sizes) < count:
        sizes[max(order, key=lambda i: exact[i] - sizes[i])] += 1
    return sizes


def read_division(file: Path) -> Division:
    """Read the parts that a training wrote. Raises DataError if it is another file."""
    content: Any = read_json(file)
    parts: Any = [content.get(part) for part in PARTS] if isinstance(content, Mapping) else [None]
    for names in parts:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError("not a split", file=file, expected="lists of names: train, val, test")
    return dict(zip(PARTS, parts, strict=True))


def select(split: str, names: Sequence[str], division: Division, place: Path) -> list[int]:
    """Return the indices of the images in a part of the division, in the order of their names.

    Raises DataError with the field "split" if there is no such part or nothing in it.
    """
    filled = [part for part in PARTS if division[part]]
    chosen = choose_splits(split, filled)
    if not chosen:
        raise missing_split(split, [*filled, "trainval"] if filled else [], place)
    wanted = {name for part in chosen for name in division[part]}
    return sorted((i for i, name in enumerate(names) if name in wanted), key=lambda i: names[i])
