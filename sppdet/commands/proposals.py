"""Fill the cache of proposals, and measure them against the annotations."""

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.shard import read_shard
from sppdet.wording import counted


def proposals(
    *,
    data: DataConfig = DataConfig(),
    proposals: ProposalConfig = ProposalConfig(),
    shard: str | None = None,
    workers: int = 2,
) -> Summary:
    """Fill the cache of proposals, and measure them against the annotations, difficult objects left out.

    Example: sppdet proposals --data.root photos --data.split val --proposals.limit 1000

    Args:
        data: images
        proposals: how they are proposed
        shard: i/n fills the cache for images i modulo n; default: RANK/WORLD_SIZE
        workers: images searched at once; 0: one, in the main thread
    """
    import time

    from sppdet.commands.inputs import read_data
    from sppdet.drawing.tables import align, percent
    from sppdet.evaluation.recall import evaluate_proposals
    from sppdet.proposals.cache import count_missing, propose

    part = read_shard(shard, launched=True)
    dataset = read_data(data, None, workers, shard=part)
    missing = count_missing(dataset.images, proposals)
    start = time.perf_counter()
    boxes = propose(dataset.images, proposals, workers)
    seconds = (time.perf_counter() - start) / missing if missing else None
    numbers = {"images": len(dataset), "searched": missing, "seconds_per_image": seconds}
    if part:
        text = f"shard {part}: proposals of {counted(len(dataset), 'image')} are cached, {missing} of them searched now"
        return Summary({"shard": str(part), **numbers}, text)
    quality = evaluate_proposals(boxes, dataset.images, dataset.classes)
    recall = f"recall at IoU {quality.iou:g}"
    rows = [
        ["seconds per image", "(cached)" if seconds is None else f"{seconds:.3g}"],
        ["boxes per image", f"{quality.boxes_per_image:.0f}"],
        [recall, percent(quality.recall)],
        ["mean average best overlap (MABO)", percent(quality.mabo)],
        *([f"{recall}, {name}", percent(value)] for name, value in quality.recall_by_size.items()),
    ]
    return Summary(numbers | quality.as_dict(), align(rows))
