"""The picture of the examples that SVMs were fitted to: objects, and the hard negatives that were mined."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sppdet.config.heads import SVMConfig
from sppdet.drawing.detections import write_picture
from sppdet.drawing.mosaic import Tile, crop, draw_mosaic
from sppdet.images import to_array
from sppdet.training.mining import MiningState
from sppdet.training.sampling import ImageRegions
from sppdet.wording import counted

MOST_CLASSES, POSITIVES, NEGATIVES = 12, 4, 8  # shown; classes with the most objects
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def draw_examples(
    path: Path, mined: MiningState, regions: Sequence[ImageRegions], classes: Sequence[str], svm: SVMConfig
) -> None:
    """Write a picture: objects from the lowest score to the highest, and the negatives with the highest, of a class.

    Scores are margins: an object should have at least 1, a negative at most -1. Raises SppdetError if it cannot be
    written, ImageError for an image that cannot be read.
    """
    pool = mined.examples
    counts = (pool.targets > 0).sum(dim=0)
    shown = [k for k in counts.argsort(descending=True, stable=True).tolist() if counts[k]][:MOST_CLASSES]
    margins = mined.margins(svm)
    chosen = {k: _choose(margins[:, k], pool.targets[:, k]) for k in shown}
    wanted = {row: pool.sources[row].tolist() for rows in chosen.values() for row in rows}
    cut: dict[int, np.ndarray] = {}
    for image in sorted({image for image, _ in wanted.values()}):
        pixels = to_array(regions[image].annotations.read())
        boxes = {row: regions[image].boxes[index].tolist() for row, (i, index) in wanted.items() if i == image}
        cut |= {row: crop(pixels, box).copy() for row, box in boxes.items()}
    rows = []
    for k in shown:
        tiles = [
            Tile(cut[row], f"{float(margins[row, k]):z.2f}", BLUE if pool.targets[row, k] > 0 else ORANGE)
            for row in chosen[k]
        ]
        negatives = int((pool.targets[:, k] < 0).sum())
        objects = f"{counted(int(counts[k]), 'object')} (blue), lowest score first"
        numbers = f"{objects}; {counted(negatives, 'negative')} (orange), hardest first"
        rows.append((f"{classes[k]}: {numbers}", tiles))
    write_picture(path, draw_mosaic(rows))


def _choose(margins: Tensor, targets: Tensor) -> list[int]:
    """Return rows of the pool: objects from the lowest margin to the highest, then the hardest negatives."""
    objects, negatives = ((targets * sign > 0).nonzero().flatten() for sign in (1, -1))
    objects = objects[margins[objects].argsort()]
    places = np.unique(np.linspace(0, len(objects) - 1, POSITIVES).round().astype(int))
    hardest = negatives[margins[negatives].argsort(descending=True)[:NEGATIVES]]
    return [*objects[torch.from_numpy(places)].tolist(), *hardest.tolist()]
