"""A data set in any format, as a reader gives it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sppdet.data.files import folder_name
from sppdet.data.problems import Problems
from sppdet.data.records import Records, names_of
from sppdet.data.splits import choose_splits
from sppdet.errors import DataError


class Source(ABC):
    """A data set in one format: the images and annotations below a folder `root`.

    format: its name in the configuration. title: its name in logs. expected: what its folders hold. label_suffix: that
    of label files, if each image has one. least_side: pixels that the sides of a box have to exceed. splits: the names
    of the data's own splits, none if they have none.
    """

    format: str
    title: str
    expected: str
    label_suffix: str | None = None
    least_side: float = 0
    splits: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = folder_name(root)

    @classmethod
    @abstractmethod
    def find(cls, root: Path, year: str | None, /) -> Self | None:
        """Return the data set in a folder, None if it holds none of this format. year: if it may hold several."""

    @abstractmethod
    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these of its splits; None: of all. Raises DataError with the field "split" for others."""

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
