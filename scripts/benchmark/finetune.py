"""Fine-tuning through the pooling next to the bare network, forward and backward on the same images."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.config import BenchmarkConfig
from benchmark.heads import CLASSES
from benchmark.measure import Growth, Part, Ratios, Run, Timing, clock_all, measure_growth, measure_part, take_turns
from benchmark.train import readable
from sppdet.backbones.backbone import last_conv_blocks
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import SPPConfig
from sppdet.config.network import BackboneConfig
from sppdet.config.training import FinetuneConfig, TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.features.build import build_network
from sppdet.features.extractor import FeatureExtractor
from sppdet.heads.linear import Heads
from sppdet.images import resize_shorter_side
from sppdet.proposals.cache import propose_image
from sppdet.training.finetune import finetune
from sppdet.training.sampling import ImageRegions

BACKBONE = "squeezenet1_0"
SCALE = 688
BLOCKS = 2
REGIONS = 500  # per image, to sample from

RATIOS: Ratios = {"ratio_finetune_vs_bare_network": ("bare network", "sppdet")}


def benchmark_finetune(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Time an epoch of fine-tuning the last BLOCKS blocks on `config.finetune_images` images of the data, or on
    generated shapes without `data.root`, and the bare network on the same images, as many at a time.

    images_per_second: the slope of the seconds of an epoch over its images; without it, writing checkpoints would
    count. Weights are random. Raises ConfigError and DataError for data that cannot be read.
    """
    with TemporaryDirectory() as folder:
        data = replace(readable(data, Path(folder), config.finetune_images), max_images=config.finetune_images)
        images = read_dataset(data).images
        search = ProposalConfig(limit=REGIONS)
        regions = [ImageRegions.from_annotations(image, propose_image(image.read(), search)) for image in images]
        settings = FinetuneConfig(epochs=1, blocks=BLOCKS)
        training = TrainConfig(
            backbone=BackboneConfig(BACKBONE, "random"), spp=SPPConfig((SCALE,)), head="softmax", finetune=settings
        )
        extractor = build_network(training, config.device)
        runs_at = partial(finetune_runs, extractor, regions, training)

        def measure(threads: int) -> dict[str, Timing]:
            return take_turns(runs_at(len(regions)), config.detect_rounds, f"fine-tuning, {threads} threads")

        def conclude() -> tuple[list[Growth], dict[str, Any]]:
            sizes = {max(1, len(regions) // part) for part in (1, 2, 4)}
            growth = measure_growth("images", sizes, runs_at, config.detect_rounds)
            pace = {name: {"images_per_second": 1 / line.slope} for name, line in growth.lines.items()}
            return [growth], {"images": len(regions), "device": str(extractor.backbone.device), "pace": pace}

        return measure_part(config.threads, RATIOS, measure, conclude)


def finetune_runs(
    extractor: FeatureExtractor, regions: Sequence[ImageRegions], config: TrainConfig, count: int
) -> dict[str, Run]:
    """The two contestants on the first `count` images, read from their files by the first."""
    backbone, chosen = extractor.backbone, regions[:count]
    pixels = [backbone.normalize(resize_shorter_side(each.annotations.read(), SCALE)[None]) for each in chosen]

    def tune() -> None:
        heads = Heads("softmax", CLASSES, extractor.dimension).to(backbone.device)
        with TemporaryDirectory() as folder:
            finetune(extractor, heads, chosen, config, Path(folder) / "epoch", Path(folder) / "start")

    def pass_through() -> None:
        blocks = last_conv_blocks(backbone, BLOCKS).requires_grad_(True)
        for batch in pixels:
            backbone(batch)[0].float().square().mean().backward()
        blocks.requires_grad_(False).zero_grad()

    return clock_all({"sppdet": tune, "bare network": pass_through})
