"""The errors a user can meet and mend. Each says where, what was expected and what was found."""

from os import PathLike
from typing import Self

from sppdet.wording import did_you_mean, either


class SppdetError(Exception):
    """A problem in what the user gave; the command line prints it on one line and exits with 1.

    expected: words, or a tuple of names, one of which was to be given; the one most like `got` is suggested.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | PathLike[str] | None = None,
        field: str | None = None,
        expected: object = None,
        got: object = None,
    ) -> None:
        self.message, self.file, self.field, self.expected, self.got = message, file, field, expected, got
        where = ": ".join(str(part) for part in (file, field) if part is not None)
        text = f"{where}: {message}" if where else message
        of_words = isinstance(expected, tuple) and all(isinstance(name, str) for name in expected)
        names = tuple(expected) if isinstance(expected, tuple) and of_words else None  # and not a shape
        question = did_you_mean(str(got), names) if names and got else ""
        wanted = expected if names is None else either(names) or None
        details = [f"{name} {value}" for name, value in (("expected", wanted), ("got", got)) if value is not None]
        if details:
            text += f" ({', '.join(details)})"
        text += f": {question}" if question else ""
        super().__init__(text)

    def in_file(self, file: str | PathLike[str] | None) -> Self:
        """Return the same error, naming the file that the value came from."""
        return type(self)(self.message, file=file, field=self.field, expected=self.expected, got=self.got)


class DataError(SppdetError):
    """A data set, an annotation, a proposal file or a detection file that cannot be used."""


class ImageError(SppdetError):
    """An image that cannot be decoded or is not of a supported kind."""


class WeightsError(SppdetError):
    """Weights that are missing, damaged or of another network."""


class ConfigError(SppdetError):
    """A parameter with a value that cannot be used."""


class InputError(SppdetError, ValueError):
    """An array or tensor argument of the wrong shape, type or range."""
