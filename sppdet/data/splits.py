"""Names of splits: of train, val and test as data sets call them, and as a user may."""

import re
from collections.abc import Sequence
from os import PathLike

from sppdet.errors import DataError

PARTS = ("train", "val", "test")
NAMED = ("train", "val", "trainval", "test")  # lists in VOC layout that divide the images; others may be of all
SYNONYMS = (("train", "training"), ("val", "valid", "validation", "dev"), ("test", "testing"))
STANDARD = {name: names[0] for names in SYNONYMS for name in names}  # valid: val

_IN_NAMES = "|".join(["trainval", *(name for name in STANDARD if name != "dev")])  # COCO's test-dev is a test split
_WORD = re.compile(rf"(?:^|(?<=[^a-z]))({_IN_NAMES})(?=$|[^a-z])")


def split_word(name: str) -> str | None:
    """Return train, val, trainval or test if a name, such as "instances_val2017", says one of them, else None."""
    words = {STANDARD.get(word, word) for word in _WORD.findall(name.lower())}
    return words.pop() if len(words) == 1 else None


def choose_splits(split: str, known: Sequence[str]) -> list[str] | None:
    """Return the splits of the data that a name means: its own, one of its synonyms, or for trainval train and val.

    None if the data have none of them.
    """
    if split in known:
        return [split]
    if split == "trainval":
        train, val = (choose_splits(part, known) for part in ("train", "val"))
        return [*train, *(val or ())] if train else None
    synonyms = next((names for names in SYNONYMS if split in names), ())
    return next(([name] for name in synonyms if name in known), None)


def missing_split(split: str, known: Sequence[str], place: str | PathLike[str]) -> DataError:
    """Return the error for a split that the data do not have. Its field "split" is what a training looks for."""
    expected = tuple(known) or "data with splits, which these have not"
    return DataError("no such split", file=place, field="split", expected=expected, got=split)


def check_splits(splits: Sequence[str] | None, known: Sequence[str], place: str | PathLike[str]) -> None:
    """Raise the error of `missing_split` for the first of `splits` that is not known."""
    for split in splits or ():
        if split not in known:
            raise missing_split(split, sorted(known), place)
