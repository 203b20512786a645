"""The picture of a data set: its boxes by class, size, aspect ratio and place."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sppdet.data.checks.report import Check
from sppdet.drawing.figures import new_figure, save_figure
from sppdet.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 8  # bars that there is room for at least
CLASSES_SHOWN = 40  # the most frequent
CELLS = 50  # of the heat map, per side
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")  # told apart by everybody (Okabe and Ito)


def plot_check(check: Check, path: str | PathLike[str]) -> None:
    """Write a PNG of `plot_boxes`, the boxes of each class by split."""
    plot_boxes(check.objects(), *_boxes_of(check), sum(map(len, check.parts.values())), path)


def plot_boxes(
    objects: Mapping[str, Mapping[str, int]],
    boxes: NDArray[np.float64],
    sizes: NDArray[np.float64],
    images: int,
    path: str | PathLike[str],
) -> None:
    """Write a PNG: boxes per class and part, their sizes and aspect ratios, and where in the images they are.

    objects: {class: {part: number}}. boxes, sizes: as in `heat_map`. Raises SppdetError if the file cannot be written.
    """
    counts = sorted(objects.items(), key=lambda row: -sum(row[1].values()))[:CLASSES_SHOWN]
    figure = new_figure(11, max(7.5, 0.22 * len(counts) + 1.5))
    axes = figure.subplot_mosaic(
        [["classes", "sizes"], ["classes", "aspects"], ["classes", "places"]], height_ratios=[2, 2, 3]
    )
    _draw_classes(axes["classes"], counts)
    sides = boxes[:, 2:] - boxes[:, :2]
    edges = np.geomspace(1, max(1024.0, sides.max(initial=1)), 41).tolist()
    axes["sizes"].hist(np.sqrt(sides.prod(axis=1)), bins=edges, color=COLORS[0])
    axes["sizes"].set_xscale("log", base=2)
    axes["sizes"].xaxis.set_major_formatter("{x:.0f}")
    axes["sizes"].set_xlabel("size of the box: root of its area (pixels)", fontsize=8)
    ratios = np.clip(sides[:, 0] / sides[:, 1], 1 / 8, 8)
    axes["aspects"].hist(ratios, bins=np.geomspace(1 / 8, 8, 41).tolist(), color=COLORS[0])
    axes["aspects"].set_xscale("log", base=2)
    axes["aspects"].set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1"])
    axes["aspects"].set_xlabel("width : height", fontsize=8)
    axes["places"].imshow(heat_map(boxes, sizes), extent=(0, 100, 100, 0), vmin=0, cmap="viridis")
    axes["places"].set_xlabel("places of the boxes (% of width and height)", fontsize=8)
    for each in axes.values():
        each.tick_params(labelsize=7)
    figure.suptitle(f"{counted(len(boxes), 'box')} in {counted(images, 'image')}", fontsize=10)
    save_figure(figure, path)


def heat_map(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of the boxes that cover each cell of an image divided into CELLS x CELLS.

    boxes: (N, 4), x1 y1 x2 y2 in pixels. sizes: (N, 2), width and height of the image of each.
    """
    steps = np.zeros((CELLS + 1, CELLS + 1))
    scaled = boxes / np.tile(sizes, 2) * CELLS
    x1, y1 = np.clip(np.floor(scaled[:, :2]), 0, CELLS - 1).astype(int).T
    x2, y2 = np.clip(np.ceil(scaled[:, 2:]), 1, CELLS).astype(int).T
    for y, x, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        np.add.at(steps, (y, x), sign)
    return steps.cumsum(axis=0).cumsum(axis=1)[:CELLS, :CELLS] / max(len(boxes), 1)


def _draw_classes(axes: Axes, counts: list[tuple[str, Mapping[str, int]]]) -> None:
    start = np.zeros(len(counts))
    for k, part in enumerate(counts[0][1] if counts else ()):
        numbers = np.array([row[part] for _, row in counts])
        axes.barh(range(len(counts)), numbers, left=start, color=COLORS[k % len(COLORS)], label=part)
        start += numbers
    for place, total in enumerate(start.astype(int).tolist()):
        axes.text(total, place, f" {total}", va="center", fontsize=7)
    axes.set_yticks(range(len(counts)), [name for name, _ in counts], parse_math=False)
    axes.set_ylim(max(len(counts), BARS) - 0.5, -0.5)
    axes.set_xlim(0, 1.12 * max([1.0, *start.tolist()]))
    axes.set_xlabel("boxes", fontsize=8)
    if counts:
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def _boxes_of(check: Check) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the boxes (N, 4) of all images of known size, and the width and height of the image of each, (N, 2)."""
    images = [image for part in check.parts.values() for image in part if image.size and image.objects]
    boxes = [image.annotations.boxes.double().numpy() for image in images]
    sizes = [np.tile(np.array(image.size, float), (len(image.objects), 1)) for image in images]
    return np.concatenate([np.zeros((0, 4)), *boxes]), np.concatenate([np.zeros((0, 2)), *sizes])
