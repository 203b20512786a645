"""The account of a training's data: what became of each image file and each annotated object, so that nothing is lost.

Every image file below the folder of the data, and every object in its annotation files, is in one row.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.data.entries import Entry
from sppdet.structures import Annotations
from sppdet.training.hold_out import Split

TRAINED, HELD_OUT = "trained on", "held out"
FIRST, FINAL = "fit without held-out images", "final fit on all images"
HELD_OUT_AT_FIRST = "held out until the final fit"
UNREADABLE = "unreadable image"
COPY = "copy of an image above"
NO_SPLIT = "in none of the splits"
OTHER = "other image files"  # in no list, not annotated, or of an entry that cannot be read


class Inventory(NamedTuple):
    """Everything that lies in the folder of the data.

    files: image files. entries: annotated images by name of the split, "" for those of none. problems: their numbers by
    severity and kind.
    """

    root: Path
    files: Sequence[Path]
    entries: Mapping[str, Sequence[Entry]]
    problems: Mapping[tuple[str, str], int]


class Row(NamedTuple):
    """Image files and annotated objects with one fate: a role in the training, a split, or why they are left out."""

    fate: str
    images: int
    objects: int


class PartCounts(NamedTuple):
    """Annotated images of one role. background: those without objects. objects: those used, by class. others: the other
    objects of the images, by reason."""

    images: int
    background: int
    objects: Counter[str]
    others: Counter[str]


class Account(NamedTuple):
    """The data of a training.

    rows: all files and objects; none of data in memory. parts: the images of TRAINED and HELD_OUT. how: the images held
    out, in words. final: the images of the final fit. root, origin: folder, format and splits; None and "" for data in
    memory. problems: as of `Inventory`.
    """

    rows: list[Row]
    parts: dict[str, PartCounts]
    how: str
    final: PartCounts
    root: Path | None = None
    origin: str = ""
    problems: Mapping[tuple[str, str], int] = {}

    @property
    def refitted(self) -> bool:
        """True if the final fit is a second one, also to images that the first, which is measured, was not to."""
        return self.final.images > self.parts[TRAINED].images

    @property
    def fits(self) -> dict[str, PartCounts]:
        """The images of each fit, and those held out."""
        if not self.refitted:
            return self.parts
        return {FIRST: self.parts[TRAINED], HELD_OUT: self.parts[HELD_OUT], FINAL: self.final}

    def name(self, fate: str) -> str:
        """Return a fate in words that are exact where there are two fits."""
        return HELD_OUT_AT_FIRST if fate == HELD_OUT and self.refitted else fate

    @property
    def total(self) -> Row:
        return Row("all", sum(row.images for row in self.rows), sum(row.objects for row in self.rows))

    def __str__(self) -> str:
        images = ", ".join(f"{row.images} {self.name(row.fate)}" for row in self.rows if row.images)
        objects = ", ".join(f"{row.objects} {self.name(row.fate)}" for row in self.rows if row.objects)
        return f"{self.total.images} image files: {images}; {self.total.objects} annotated objects: {objects}"


def take_account(split: Split, inventory: Inventory | None) -> Account:
    """Return the fates of all images and objects of a training. inventory: of its data, None if they are in memory."""
    held_out = set(split.held_out)
    images = {role: list[Annotations]() for role in (TRAINED, HELD_OUT)}
    for i, image in enumerate(split.dataset.images):
        images[HELD_OUT if i in held_out else TRAINED].append(image)
    entries = {id(entry.annotations): entry for each in split.read for entry in each.entries if entry.annotations}
    parts = {role: _count(those, entries, split.dataset.classes) for role, those in images.items()}
    final = _count([split.dataset.images[i] for i in split.final_fit], entries, split.dataset.classes)
    account = Account([], parts, split.how, final)
    if inventory is None:
        return account
    roles = {id(image): role for role, those in images.items() for image in those}
    fates: dict[tuple[Path, str], tuple[str, Entry]] = {}
    for fate, entry in (*_fates_of_read(split, roles), *_fates_of_others(inventory)):
        if entry.place not in fates or fate in (TRAINED, HELD_OUT):
            fates[entry.place] = fate, entry
    return account._replace(
        rows=_rows(list(fates.values()), inventory.files),
        root=inventory.root,
        origin=split.read[0].origin,
        problems=inventory.problems,
    )


def _count(images: Sequence[Annotations], entries: Mapping[int, Entry], classes: Sequence[str]) -> PartCounts:
    """Return the counts of images. entries: by the ids of their annotations in memory."""
    objects, others = Counter[str](), Counter({"difficult": sum(int(image.difficult.sum()) for image in images)})
    for image in images:
        objects.update(classes[label - 1] for label in image.labels[~image.difficult].tolist())
    for entry in (entries[id(image)] for image in images if id(image) in entries):
        others.update({f"of class {name}": count for name, count in entry.ignored.items()})
        others.update(entry.skipped)
    background = sum(not len(image.labels) for image in images)
    return PartCounts(len(images), background, objects, +others)


def _fates_of_read(split: Split, roles: Mapping[int, str]) -> Iterator[tuple[str, Entry]]:
    """Yield the images that were read for the training, as far as their fates are known here."""
    known = set(split.keys)
    for each in split.read:
        for entry in each.entries:
            if fate := roles.get(id(entry.annotations)) or entry.fault:
                yield fate, entry
            elif entry.image in split.unreadable:
                yield UNREADABLE, entry
    for each in split.read:
        for entry in each.entries:
            image = entry.annotations
            if image and id(image) not in roles and image.path not in split.unreadable and image.cache_key() in known:
                yield COPY, entry


def _fates_of_others(inventory: Inventory) -> Iterator[tuple[str, Entry]]:
    for name, entries in inventory.entries.items():
        for entry in entries:
            yield (f"split {name}" if name else entry.fault or NO_SPLIT), entry


def _rows(fates: Sequence[tuple[str, Entry]], files: Sequence[Path]) -> list[Row]:
    """Return the rows in the order of their fates, first the roles. A file of several entries counts for the first."""
    order = list(dict.fromkeys([TRAINED, HELD_OUT, *(fate for fate, _ in fates)]))
    objects, best = Counter[str](), dict[str, int]()
    for fate, entry in fates:
        objects[fate] += entry.objects
        if entry.image:
            file = os.path.normpath(entry.image)
            best[file] = min(best.get(file, len(order)), order.index(fate))
    images = Counter(order[i] for i in best.values())
    images[OTHER] = len({os.path.normpath(file) for file in files} - set(best))
    rows = [Row(fate, images[fate], objects[fate]) for fate in (*order, OTHER)]
    return [row for row in rows if row.images or row.objects]
