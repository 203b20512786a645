"""The numbers of a training as it goes: a row of each epoch, refit, fit and stage, in metrics.jsonl and results.csv.

Rows are only added. A training that is resumed adds rows of the next session, in which steps that were not finished
begin again: of rows with the same step, kind and number the last one counts.
"""

import csv
import io
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from sppdet.errors import SppdetError
from sppdet.files.atomic import json_ready, write_text
from sppdet.files.bounded_json import parse_json
from sppdet.runtime.limits import read_whole

logger = logging.getLogger(__name__)

Row = dict[str, Any]
# step: the file of the run that it ends in, without its suffix. kind: epoch, refit, fit, features or stage.
# seconds: since the row before. memory_gb: the most that the process has had in memory by then.
COLUMNS = (
    *("session", "step", "kind", "number", "examples", "loss", "objective", "gap", "accuracy"),
    *("map_voc07", "map_area", "seconds", "memory_gb", "gpu_memory_gb"),
)


class Metrics:
    """The rows in the folder of a run, oldest first; each added one is on the disk when `add` returns."""

    def __init__(self, folder: Path) -> None:
        self._lines, self._table = folder / "metrics.jsonl", folder / "results.csv"
        self.rows = _read(self._lines)
        self.session = 1 + max((row["session"] for row in self.rows), default=0)

    def add(self, row: Row) -> None:
        """Add a row of this session. Raises SppdetError if it cannot be written."""
        self.rows.append({"session": self.session, **json_ready(row)})
        write_text(self._lines, "".join(json.dumps(each, allow_nan=False) + "\n" for each in self.rows))
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_text(self._table, text.getvalue())

    def of_step(self, step: str, kind: str) -> list[Row]:
        """Return the rows of a step that count: the last one with each number."""
        return list({row["number"]: row for row in self.rows if (row["step"], row["kind"]) == (step, kind)}.values())

    @property
    def seconds(self) -> float:
        """Seconds of all sessions, without what was not recorded before a session was interrupted."""
        return float(sum(row["seconds"] for row in self.rows))

    @property
    def memory_gb(self) -> float | None:
        """The most memory that a session had, in GB; None where it is not known."""
        return max((row["memory_gb"] for row in self.rows if row.get("memory_gb")), default=None)


def _read(file: Path) -> list[Row]:
    """Return the rows of a file, none if it is missing; a damaged line is left out, with a warning."""
    rows, lines = [], read_whole(file).splitlines() if file.is_file() else []
    for line in lines:
        with suppress(SppdetError, ValueError, RecursionError):
            row = parse_json(line)
            if isinstance(row, dict) and _is_row(row):
                rows.append(row)
    if len(rows) < len(lines):
        logger.warning("%s: damaged, %d of %d lines are left out", file, len(lines) - len(rows), len(lines))
    return rows


def _is_row(row: Row) -> bool:
    numbers = [row.get("session"), row.get("number"), row.get("seconds"), row.get("memory_gb") or 0]
    named = isinstance(row.get("step"), str) and isinstance(row.get("kind"), str)
    return named and all(isinstance(value, (int, float)) for value in numbers)
