"""Counts of what was tried, and their table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

KINDS = ("refused", "accepted", "exception", "death", "over limit", "wrong")  # from the third on, it is lost


@dataclass
class Tally:
    """name: of what was tortured. counts: by the kinds of outcomes."""

    name: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    seconds: float = 0.0

    def add(self, outcome: str) -> None:
        self.counts[outcome] += 1

    @property
    def tried(self) -> int:
        return sum(self.counts.values())

    @property
    def lost(self) -> int:
        return sum(self.counts[kind] for kind in KINDS[2:])


def format_table(parts: dict[str, Sequence[Tally]]) -> str:
    """One line for each target and for each part with several."""
    rows = [("", "tried", *KINDS, "lost")]
    for part, tallies in parts.items():
        counts = {kind: sum(tally.counts[kind] for tally in tallies) for kind in KINDS}
        for tally in (*tallies, *([Tally(f"{part}, all", counts)] if len(tallies) > 1 else [])):
            rows.append((tally.name, *(str(n) for n in (tally.tried, *tally.counts.values(), tally.lost))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
