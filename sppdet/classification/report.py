"""The accuracy of classifiers as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sppdet.drawing.tables import percent


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one or more classifiers; `numbers` are those of the JSON output."""

    numbers: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return dict(self.numbers)

    def __str__(self) -> str:
        numbers = self.numbers
        tops = [key for key in ("top1", "top5") if key in numbers]
        lines = [
            (name, percent(of_class["top1"]), f"{of_class['images']} images")
            for name, of_class in numbers["per_class"].items()
        ]
        lines += [(key, _with_interval(numbers[key]), f"{numbers['images']} images") for key in tops]
        if len(numbers["runs"]) > 1:
            lines.append(("top1 of each", " ".join(map(percent, numbers["runs"].values())), ""))
        if "against" in numbers:
            for key in tops:
                lines.append((f"{key}, others", _with_interval(numbers["against"][key]), ""))
                lines.append((f"{key}, more", _with_interval(numbers["difference"][key]), "(percentage points)"))
        return "\n".join(f"{name:16} {value:>7}   {note}".rstrip() for name, value, note in lines)


def _with_interval(value: Mapping[str, Any]) -> str:
    text = percent(value["mean"])
    if "interval" in value:
        low, high = value["interval"]
        text += f" ({100 * low:.1f} to {100 * high:.1f}; 95% of {value['resamples']} resamples)"
    return text
