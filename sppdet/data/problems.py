"""Everything that is wrong with annotated data, reported through one place."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Literal, NamedTuple

from sppdet.errors import SppdetError

logger = logging.getLogger(__name__)

LOGGED = 5  # warnings of one kind that are logged one by one; the others are counted


class Problem(NamedTuple):
    """One fault. kind: words that all faults of its kind share. severity: error if it would be trained wrongly."""

    file: str | None
    field: str | None
    kind: str
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.field, self.message) if part)


class Problems:
    """Collects the faults that readers find, in the order of their finding.

    strict: an error is raised at once; otherwise it is collected too, and the reader leaves out the object or image.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.found: list[Problem] = []

    @property
    def last_kind(self) -> str:
        """Kind of the problem that was found last."""
        return self.found[-1].kind

    @contextmanager
    def collect(self, kind: str) -> Iterator[None]:
        """Collect an error of the block, which then ends early; raise it if strict."""
        try:
            yield
        except SppdetError as error:
            self.error(kind, error)

    def error(self, kind: str, error: SppdetError) -> None:
        """Collect an error, or raise it if strict."""
        if self.strict:
            raise error
        message = str(type(error)(error.message, expected=error.expected, got=error.got))
        file = None if error.file is None else str(error.file)
        self.found.append(Problem(file, error.field, kind, "error", message))

    def warn(self, kind: str, message: str, file: str | PathLike[str], field: str | None = None) -> None:
        """Collect a warning."""
        self.found.append(Problem(str(file), field, kind, "warning", message))

    def log(self) -> None:
        """Log the first LOGGED faults of each kind as warnings, and the number of the others."""
        for kind in dict.fromkeys(problem.kind for problem in self.found):
            those = [problem for problem in self.found if problem.kind == kind]
            for problem in those[:LOGGED]:
                logger.warning("%s", problem)
            if len(those) > LOGGED:
                logger.warning("%s: %d more", kind, len(those) - LOGGED)
