"""The result of an ablation: the cells of the paper's table of detection results (SPPnet, table 9), ours and theirs."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sppdet.drawing.tables import align, with_interval
from sppdet.evaluation.bootstrap import BootstrapMAP


@dataclass(frozen=True)
class Cell:
    """One row and column of the table.

    Args:
        row: stage of the recipe, such as ftfc7+bb.
        column: kind of features, such as 5 scales.
        runs: mAP of each seed on the same test images.
        seconds: time of training and detection for each seed, less what was already cached. Rows that differ only in
            box regression share both.
        paper: the paper's VOC07 mAP, a fraction; None if it has none, or for classes other than VOC's.
    """

    row: str
    column: str
    runs: tuple[BootstrapMAP, ...]
    seconds: tuple[float, ...]
    paper: float | None = None

    @property
    def mean(self) -> BootstrapMAP:
        """Mean mAP over the seeds."""
        return BootstrapMAP.mean(self.runs)

    @property
    def maps(self) -> tuple[float, ...]:
        """VOC07 mAP of each seed, a fraction."""
        return tuple(run.map_voc07 for run in self.runs)

    @property
    def std(self) -> float | None:
        """Standard deviation of `maps`; None for one seed."""
        return statistics.stdev(self.maps) if len(self.maps) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """Return the cell for JSON."""
        values = {"std": self.std, "maps": self.maps, "seconds": self.seconds}
        return {"row": self.row, "column": self.column, "paper": self.paper, **self.mean.as_dict(), **values}

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ±{100 * self.std:.1f}"
        paper = "" if self.paper is None else f" ({100 * self.paper:.1f})"
        return f"{100 * self.mean.map_voc07:.1f}{spread}{paper}"


@dataclass(frozen=True)
class Ablation:
    """The cells that were measured, row by row; its text is the table.

    Cells are in percent with the standard deviation over seeds, and the paper's figure in brackets.
    """

    cells: Sequence[Cell]
    folder: str

    @property
    def differences(self) -> list[tuple[Cell, Cell, BootstrapMAP]]:
        """Each cell, the one before it in its column or the first in its row, and its mean minus the other's.

        The paired intervals are over the test images and do not include the variance over seeds.
        """
        pairs = []
        for cell in self.cells:
            column = [other for other in self.cells if other.column == cell.column]
            row = [other for other in self.cells if other.row == cell.row]
            others = column[: column.index(cell)][-1:] + row[: row.index(cell)][:1]
            pairs += [(cell, other, cell.mean.minus(other.mean)) for other in others]
        return pairs

    def as_dict(self) -> dict[str, Any]:
        """Return the ablation for JSON."""
        differences = [
            {"row": cell.row, "column": cell.column, "to_row": other.row, "to_column": other.column, **maps.as_dict()}
            for cell, other, maps in self.differences
        ]
        return {"cells": [cell.as_dict() for cell in self.cells], "differences": differences}

    def __str__(self) -> str:
        columns = list(dict.fromkeys(cell.column for cell in self.cells))
        paper = " (paper, VOC2007)" if any(cell.paper for cell in self.cells) else ""
        rows = [[f"VOC07 mAP, %{paper}", *columns]]
        for row, cells in itertools.groupby(self.cells, key=lambda cell: cell.row):
            rows.append([row, *map(str, cells)])
        parts = [align(rows)]
        lines = [
            [
                f"{cell.row}, {cell.column}, to {other.row}, {other.column}",
                with_interval(maps.map_voc07, maps.interval_voc07, "+"),
            ]
            for cell, other, maps in self.differences
        ]
        if lines:
            parts.append(align([["differences, means of the seeds", "points (95%)"], *lines]))
        if any(len(cell.runs) > 1 for cell in self.cells):
            parts.append("±: standard deviation over the seeds; 95%: of the choice of test images, not of the seed")
        return "\n\n".join(parts) + f"\nwritten to {self.folder}/ablation.json"
