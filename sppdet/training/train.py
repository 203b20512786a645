"""Training a detector, stage by stage: proposals, features, heads on the training part with thresholds chosen on the
held-out part, heads on everything. Each stage leaves what it made, so that an interrupted run goes on from there."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from tqdm import tqdm

from sppdet.backbones.blocks import last_conv_blocks
from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import DetectorConfig
from sppdet.config.training import TrainConfig
from sppdet.data.dataset import read_dataset
from sppdet.detector import Detector
from sppdet.evaluation.voc import VOCResult, evaluate_voc
from sppdet.features.build import build_extractor
from sppdet.features.extractor import FeatureExtractor
from sppdet.files.atomic import content_key, hash_tensors, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import fit_calibration
from sppdet.heads.linear import BoxRegressor, LinearHead
from sppdet.proposals.cache import propose
from sppdet.structures import Dataset
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.finetune import Heads, finetune
from sppdet.training.fit_heads import fit_heads
from sppdet.training.hold_out import hold_out
from sppdet.training.memory import bound_memory
from sppdet.training.sampling import LabeledProposals
from sppdet.training.thresholds import choose_thresholds

logger = logging.getLogger(__name__)


def train(config: TrainConfig) -> Detector:
    """Train the detector that `config` describes into `config.output`, going on where an earlier run stopped.

    Raises ConfigError for values that cannot be used and where the folder holds a run of another configuration.
    """
    torch.manual_seed(config.seed)
    run = RunFolder(config.output)
    if run.detector.is_file():
        run.check_config(config)
        logger.info("%s is trained already; to train again, remove it or give another --output", run.path)
        return Detector.load(run.path, config.device, config.precision)
    backbone = build_backbone(config.backbone.name, config.backbone.weights, config.device, config.precision)
    layers = build_fully_connected(config, backbone)
    source = build_extractor(config, backbone, layers)  # before the hours that proposals may take
    last_conv_blocks(backbone, config.finetune.blocks, "finetune.blocks")
    run.check_config(config)
    dataset = read_dataset(config.data)
    dataset, fitted, held_out = hold_out(dataset, config)
    logger.info(
        "%d images, %d classes; %d held out to choose thresholds", len(dataset), len(dataset.classes), len(held_out)
    )
    proposals = propose(dataset.images, config.proposals, config.workers)
    regions = [LabeledProposals.of(image, boxes) for image, boxes in zip(dataset.images, proposals, strict=True)]
    run.check_data(_data_key(source, regions, fitted, held_out))
    config = bound_memory(config, source.dimension, len(dataset.classes))
    training = Training(config, run, dataset.classes, source, regions)

    training_part = sorted(set(fitted) - set(held_out))
    detector, cache = training.fit("train", training_part)
    result = _evaluate_held_out(detector, dataset, cache, held_out)
    write_json(run.val, {"images": len(held_out), **result.as_dict()})
    logger.info("held-out images: map_voc07 %.4f", result.map_voc07)
    thresholds = choose_thresholds(result)
    calibration = fit_calibration([(c.scores, c.right) for c in result.curves.values()], config.calibration)
    if len(training_part) < len(fitted):
        detector, _ = training.fit("all", fitted, training_part)
    detector.thresholds, detector.calibration = thresholds, calibration
    detector.save(run.detector)
    shutil.rmtree(run.features, ignore_errors=True)
    logger.info("detector in %s", run.detector)
    return detector


@dataclass(frozen=True, eq=False)
class Training:
    """What every fit of a training starts from."""

    config: TrainConfig
    run: RunFolder
    classes: tuple[str, ...]
    source: FeatureExtractor
    regions: Sequence[LabeledProposals]

    def fit(self, name: str, images: list[int], known: Sequence[int] = ()) -> tuple[Detector, FeatureCache]:
        """A detector from the images at these positions, among them the `known`, which the last fit was made from, and
        the features it stands on."""
        run, classes = self.run, len(self.classes)
        if not self.config.finetune.epochs:
            cache = self._cache()
            cache.fill()
            return self._detector(*fit_heads(run, name, cache, images, classes, self.config, known)), cache
        tuned = self._finetune(name, images)
        cache = self._cache(run.features)
        if self.config.head == "softmax":
            return self._detector(*tuned.split()), cache
        return self._detector(*fit_heads(run, name, cache, images, classes, self.config)), cache

    def _finetune(self, name: str, images: list[int]) -> Heads:
        """Fine-tune the network on the images, each time from the same start."""
        config, backbone, layers = self.config, self.source.backbone, self.source.layers
        scales = config.finetune.scales or config.spp.scales
        source = build_extractor(replace(config, spp=replace(config.spp, scales=scales)), backbone, layers)
        settings = replace(config, head="softmax", box_regression=replace(config.box_regression, enabled=True))
        head, regressor = fit_heads(self.run, "start", self._cache(), images, len(self.classes), settings)
        assert regressor is not None  # it is enabled
        heads = Heads(head, regressor).to(backbone.device)
        file, start = self.run.finetuned(name), self.run.finetuned("start")
        if not file.is_file():
            shutil.rmtree(self.run.features, ignore_errors=True)  # of the network as it was
        finetune(source, heads, [self.regions[i] for i in images], config, file, start)
        return heads

    def _cache(self, folder: Path | None = None) -> FeatureCache:
        return FeatureCache(self.source, self.regions, self.config.cache_gb, folder)

    def _detector(self, head: LinearHead, regressor: BoxRegressor | None) -> Detector:
        source, config = self.source, _detector_config(self.config)
        boxes = regressor if self.config.box_regression.enabled else None
        return Detector(config, self.classes, source.backbone, head, boxes, layers=source.layers)


def _data_key(
    source: FeatureExtractor, regions: Sequence[LabeledProposals], fitted: list[int], held_out: list[int]
) -> str:
    """A key of the weights, the images, their objects and proposals, and which are for what."""
    networks = [source.backbone, *([source.layers] if source.layers else [])]
    weights = [weight for network in networks for weight in network.state_dict().values()]
    annotated = [(of.boxes, of.annotations.labels, of.annotations.difficult) for of in regions]
    ids = [of.annotations.id for of in regions]
    return content_key(ids, fitted, held_out, hash_tensors([*weights, *itertools.chain(*annotated)]))


def _evaluate_held_out(detector: Detector, dataset: Dataset, cache: FeatureCache, held_out: list[int]) -> VOCResult:
    cache.fill(held_out)
    found = []
    for i in tqdm(held_out, desc="held-out images", unit="image"):
        regions = cache.regions[i]
        proposals = torch.arange(regions.objects, len(regions.boxes))
        outputs = cache.map_features(i, detector.apply_heads, proposals)
        found.append(detector.detections(outputs, regions.boxes[proposals], cache.size(i)))
    return evaluate_voc(found, dataset.subset(held_out).images, dataset.classes)


def _detector_config(config: TrainConfig) -> DetectorConfig:
    """The detector's part, without the file of the training images' proposals: others need their own."""
    part = DetectorConfig(**{f.name: getattr(config, f.name) for f in fields(DetectorConfig)})
    return replace(part, proposals=replace(part.proposals, file=None))
