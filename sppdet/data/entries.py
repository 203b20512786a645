"""What becomes of each annotated image and its objects, for counts that add up to what is on disk."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sppdet.structures import Annotations
from sppdet.wording import counted

# Faults of entries that are no errors of an image.
BEYOND = "beyond data.max_images"
NO_IMAGE = "object of no image"
ORPHAN = "annotation without an image"
MALFORMED = "malformed object"  # the kind of problem


class Entry(NamedTuple):
    """An image as the annotation files have it.

    place: its file and field, by which it is known again. image: its file, None if there is none. objects: number of
    its objects. fault: why it is left out, the kind of an error or one of the above; "" if it is used. Of its objects
    those of `ignored` classes, by name, and the `skipped` ones, by reason, are not among the annotations.
    """

    place: tuple[Path, str]
    image: Path | None
    objects: int
    fault: str = ""
    annotations: Annotations | None = None
    ignored: Mapping[str, int] = {}
    skipped: Mapping[str, int] = {}


def describe(entries: Iterable[Entry], classes: Sequence[str]) -> str:
    """Return the numbers of images and objects of a data set, the latter in parts that add up to all of them."""
    entries = list(entries)
    images = [entry.annotations for entry in entries if entry.annotations]
    background, kept = sum(not len(image.labels) for image in images), sum(len(image.labels) for image in images)
    left_out = [entry for entry in entries if entry.fault and entry.fault != NO_IMAGE]
    skipped, ignored = Counter[str](), Counter[str]()
    for entry in entries:
        skipped.update(entry.skipped if entry.fault != NO_IMAGE else {NO_IMAGE: entry.objects})
        ignored.update(entry.ignored)
    counts = [
        f"{counted(len(images), 'image')} ({background} without objects)",
        f"{counted(kept, 'object')} of {counted(len(classes), 'class')}",
    ]
    if left_out:
        objects = counted(sum(entry.objects for entry in left_out), "object")
        kinds = list_counts(Counter(entry.fault for entry in left_out))
        counts.append(f"{counted(len(left_out), 'image')} left out ({kinds}) with {objects}")
    if skipped:
        counts.append(f"{counted(skipped.total(), 'object')} skipped ({list_counts(skipped)})")
    if ignored:
        parts = ", ".join(f"{name} {count}" for name, count in ignored.most_common())
        counts.append(f"{counted(ignored.total(), 'object')} of other classes ignored ({parts})")
    return ", ".join(counts)


def list_counts(counts: Mapping[str, int]) -> str:
    """Return counts by kind as text, the most frequent first.

    >>> list_counts({"units": 1, "unusable file": 2})
    '2 unusable file, 1 units'
    """
    return ", ".join(f"{count} {kind}" for kind, count in Counter(counts).most_common())
