"""Measure proposals against the annotations."""

from __future__ import annotations

import time
from typing import Any

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.dataset import read_dataset
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.proposals.cache import count_missing, propose


def measure_proposals(data: DataConfig, config: ProposalConfig, workers: int = 2) -> dict[str, Any]:
    """Fill the cache of proposals for the images of `data` and measure them against the annotations.

    `seconds_per_image` is wall time over the images that were searched now, None where all were cached.
    """
    dataset = read_dataset(data)
    missing = count_missing(dataset.images, config)
    start = time.perf_counter()
    boxes = propose(dataset.images, config, workers)
    seconds = (time.perf_counter() - start) / missing if missing else None
    quality = evaluate_proposals(boxes, dataset.images, dataset.classes)
    return {"images": len(dataset), "searched": missing, "seconds_per_image": seconds, **quality.as_dict()}
