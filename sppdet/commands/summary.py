"""The result of commands that write files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Summary:
    """What a command wrote: `values` for JSON, `text` for the terminal."""

    values: Mapping[str, Any]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return dict(self.values)

    def __str__(self) -> str:
        return self.text
