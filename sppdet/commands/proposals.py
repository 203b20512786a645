"""Measure proposals against the annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sppdet.config.data import DataConfig, ProposalConfig

if TYPE_CHECKING:
    from sppdet.evaluation.recall import ProposalQuality
    from sppdet.structures import Dataset


@dataclass(frozen=True)
class Proposals:
    """The proposals of a data set: how well they cover its objects, and the time they took.

    searched: images that were not cached. seconds_per_image: wall time of the search over these; None if all were.
    """

    images: int
    searched: int
    seconds_per_image: float | None
    quality: ProposalQuality

    def as_dict(self) -> dict[str, Any]:
        numbers = {"images": self.images, "searched": self.searched, "seconds_per_image": self.seconds_per_image}
        return numbers | self.quality.as_dict()

    def __str__(self) -> str:
        from sppdet.drawing.tables import align, percent

        quality, seconds = self.quality, self.seconds_per_image
        recall = f"recall at IoU {quality.iou:g}"
        fractions = {recall: quality.recall, "mean average best overlap (MABO)": quality.mabo}
        fractions |= {f"{recall}, {name}": value for name, value in quality.recall_by_size.items()}
        rows = [
            ["seconds per image", "(cached)" if seconds is None else f"{seconds:.3g}"],
            ["boxes per image", f"{quality.boxes_per_image:.0f}"],
            *([name, percent(value)] for name, value in fractions.items()),
        ]
        return align(rows)


def proposals(
    *,
    data: DataConfig = DataConfig(),
    proposals: ProposalConfig = ProposalConfig(),
    workers: int = 2,
    dataset: Dataset | None = None,
) -> Proposals:
    """Fill the cache of proposals, and measure them against the annotations.

    JSON: images; searched (images that were not cached); seconds_per_image (of these; null if there were none); iou;
    recall; mabo; boxes_per_image; objects; recall_by_class; abo (average best overlap, by class); recall_by_size
    (small, medium, large). Difficult objects do not count.

    Args:
        data: images
        proposals: how they are proposed
        workers: images searched at once; 0: one, in the main thread
        dataset: images in memory, in place of `data`
    """
    import time

    from sppdet.data.dataset import read_dataset
    from sppdet.evaluation.recall import evaluate_proposals
    from sppdet.proposals.cache import count_missing, propose

    if dataset is None:
        dataset = read_dataset(data)
    missing = count_missing(dataset.images, proposals)
    start = time.perf_counter()
    boxes = propose(dataset.images, proposals, workers)
    seconds = (time.perf_counter() - start) / missing if missing else None
    return Proposals(len(dataset), missing, seconds, evaluate_proposals(boxes, dataset.images, dataset.classes))
