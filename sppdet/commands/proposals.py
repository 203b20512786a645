"""Measure proposals against the annotations."""

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig, ProposalConfig


def proposals(
    *, data: DataConfig = DataConfig(), proposals: ProposalConfig = ProposalConfig(), workers: int = 2
) -> Summary:
    """Fill the cache of proposals, and measure them against the annotations, difficult objects left out.

    Args:
        data: images
        proposals: how they are proposed
        workers: images searched at once; 0: one, in the main thread
    """
    import time

    from sppdet.commands.inputs import read_data
    from sppdet.drawing.tables import align, percent
    from sppdet.evaluation.recall import evaluate_proposals
    from sppdet.proposals.cache import count_missing, propose

    dataset = read_data(data, None, workers)
    missing = count_missing(dataset.images, proposals)
    start = time.perf_counter()
    boxes = propose(dataset.images, proposals, workers)
    seconds = (time.perf_counter() - start) / missing if missing else None
    quality = evaluate_proposals(boxes, dataset.images, dataset.classes)
    recall = f"recall at IoU {quality.iou:g}"
    rows = [
        ["seconds per image", "(cached)" if seconds is None else f"{seconds:.3g}"],
        ["boxes per image", f"{quality.boxes_per_image:.0f}"],
        [recall, percent(quality.recall)],
        ["mean average best overlap (MABO)", percent(quality.mabo)],
        *([f"{recall}, {name}", percent(value)] for name, value in quality.recall_by_size.items()),
    ]
    numbers = {"images": len(dataset), "searched": missing, "seconds_per_image": seconds}
    return Summary(numbers | quality.as_dict(), align(rows))
