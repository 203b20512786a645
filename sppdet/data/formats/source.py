"""A data set in any format, as a reader gives it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from sppdet.data.files import folder_name, leading_outside, outside_error
from sppdet.data.problems import Problems
from sppdet.data.records import Records, names_of
from sppdet.data.splits import choose_splits
from sppdet.errors import DataError, SppdetError
from sppdet.runtime.prefetch import read_small_files

T = TypeVar("T")
R = TypeVar("R")

OUTSIDE = "file outside of the data"  # the kind of problem


class Source(ABC):
    """A data set in one format: the images and annotations below a folder `root`.

    format: its name in the configuration. title: its name in logs. expected: what its folders hold. label_suffix: that
    of label files, if each image has one. least_side: pixels that the sides of a box have to exceed. splits: the names
    of the data's own splits, none if they have none. top: images and label files lie below it, unless allow_outside.
    """

    format: str
    title: str
    expected: str
    label_suffix: str | None = None
    least_side: float = 0
    splits: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = self.top = root
        self.name = folder_name(root)
        self.allow_outside = False

    @classmethod
    @abstractmethod
    def find(cls, root: Path, year: str | None, /) -> Self | None:
        """Return the data set in a folder, None if it holds none of this format. year: if it may hold several."""

    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these of its splits; None: of all. Raises DataError with the field "split" for others, and
        one for an image or label file that lies outside of `top`.
        """
        records = self._read_splits(splits, problems)
        if self.allow_outside:
            return records
        files = [[image.path, *([image.file] if self.label_suffix else [])] for image in records.images]
        outside = leading_outside(self.top, (file for each in files for file in each))
        inside, left_out = [], [*records.left_out]
        for image, each in zip(records.images, files, strict=True):
            if away := [file for file in each if file in outside]:
                problems.error(OUTSIDE, outside_error(away[0]))
                left_out.append(image.entry(OUTSIDE))
            else:
                inside.append(image)
        return records._replace(images=inside, left_out=left_out)

    @staticmethod
    def _read_each(
        items: Collection[T], read: Callable[[T, Problems], R], problems: Problems
    ) -> Iterator[tuple[T, R | None]]:
        """Yield each item and what `read` makes of it, None after an error, which is the last of `problems` then.

        Threads may read ahead, so an item's problems are collected apart and join the others when it is its turn.
        """

        def read_one(item: T) -> tuple[R | None, Problems, SppdetError | None]:
            own = Problems(problems.strict)
            try:
                return read(item, own), own, None
            except SppdetError as error:
                return None, own, error

        for item, (made, own, error) in zip(items, read_small_files(items, read_one), strict=True):
            problems.found += own.found
            if error:
                problems.error("unusable file", error)
            yield item, made

    @abstractmethod
    def _read_splits(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read as `read` does, files outside of `top` too."""

    @abstractmethod
    def read_rest(self, splits: Sequence[str] | None) -> Records:
        """Read what is annotated outside of these splits, or of all that `read` gives if None, for the counts.

        Problems are not reported. Annotations without an image are among the entries left out.
        """

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the names of labels 1..K, the same for all splits: those that a file of the data lists, or the sorted
        names of the objects in train and val, without such splits of all objects. Raises DataError if there are none.
        """
        records = self.read(choose_splits("trainval", self.splits), Problems(problems.strict))
        classes = records.classes or names_of(records.images)
        if not classes:
            raise DataError("no annotated object, so no classes", file=self.root)
        return classes
