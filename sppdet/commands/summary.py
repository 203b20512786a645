"""The result of commands that write files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sppdet.errors import SppdetError
from sppdet.wording import counted


@dataclass(frozen=True)
class Summary:
    """The result of a command: `values` for JSON, `text` for the terminal, and `errors` of the images left out."""

    values: Any
    text: str
    errors: Sequence[SppdetError] = ()

    def as_dict(self) -> Any:
        return self.values

    def __str__(self) -> str:
        return self.text


def summarize_training(kind: str, classes: Sequence[str], folder: str) -> Summary:
    """Return the summary of a finished training, with the evaluation on its held-out images, if there were any."""
    from sppdet.files.atomic import read_json
    from sppdet.files.run_folder import RunFolder

    val = RunFolder(folder).val
    values = {"folder": folder, "classes": classes, "held_out": read_json(val) if val.is_file() else None}
    return Summary(values, f"{kind} of {counted(len(classes), 'class')} in {folder}")
