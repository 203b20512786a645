"""Training of a detector: fit heads without the held-out images, choose thresholds on these, fit heads to all.

Every step leaves its result in the run's folder, from which an interrupted training resumes.
"""

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.config.detector import DetectorConfig
from sppdet.config.record import base_of
from sppdet.config.training import TrainConfig
from sppdet.data.dataset import record_division
from sppdet.detector import Detector
from sppdet.drawing.contact_sheet import write_contact_sheet
from sppdet.errors import WeightsError
from sppdet.evaluation.voc import evaluate_voc
from sppdet.features.build import build_extractor, build_network
from sppdet.features.extractor import FeatureExtractor
from sppdet.files.atomic import content_key, hash_tensors, write_json
from sppdet.files.recorder import record, recording, step
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import fit_calibration
from sppdet.heads.linear import Heads
from sppdet.postprocess import postprocess
from sppdet.proposals.cache import propose
from sppdet.runtime.progress import plan, progress
from sppdet.runtime.ranks import spread
from sppdet.structures import Annotations, Dataset, Detections
from sppdet.training.account import FINAL, FIRST, Account, take_account
from sppdet.training.check import check_training_data
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.finetune import finetune
from sppdet.training.fit_heads import fit_heads
from sppdet.training.followers import begin, follow
from sppdet.training.hold_out import Split, hold_out
from sppdet.training.labels import plot_labels
from sppdet.training.room import bound_memory
from sppdet.training.run_readme import Session, write_detector_readme
from sppdet.training.sampling import ImageRegions, Regions
from sppdet.training.stages import stages_of
from sppdet.training.thresholds import choose_thresholds
from sppdet.wording import counted

logger = logging.getLogger(__name__)

DRAWN = 6  # held-out images


def train(config: TrainConfig, dataset: Dataset | None = None, val: Dataset | None = None) -> Detector:
    """Train a detector and save it in `config.output`, resuming where an earlier call stopped.

    dataset, val: the training images and the images to hold out, in place of those that the configuration names.
    Raises ConfigError if the folder holds another run (another configuration or other data) or files of the user's, or
    if `config.memory_gb` is too little, WeightsError if its detector is of another configuration. If another process
    trains this configuration there, it is waited for. The detector of a finished run is returned without looking at
    the data. Data, network and proposals are checked in this order; until then nothing is written.
    """
    with follow(config) as config:
        return _train_or_load(config, dataset, val)


def _train_or_load(config: TrainConfig, dataset: Dataset | None, val: Dataset | None) -> Detector:
    run = RunFolder(config.output)
    run.check_config(config)
    if not run.detector.is_file():
        with run.hold(config), recording(run.path, config.tensorboard):
            begin(run)
            if not run.detector.is_file():  # which another process may have finished meanwhile
                return _train(config, run, dataset, val)
    else:
        begin(run)
        run.tidy()
    logger.info("%s is trained already; to train again, remove it or give another --output", run.path)
    detector = Detector.load(run.path, config.device, config.precision)
    if detector.config != _detector_config(config):
        expected = "the one that was trained here; to train it again, remove the file"
        raise WeightsError("is of another configuration", file=run.detector, expected=expected)
    return detector


def _detector_config(config: TrainConfig) -> DetectorConfig:
    """Return the configuration of the detector; a file of proposals holds those of the training images only."""
    return replace(base_of(config, DetectorConfig), proposals=replace(config.proposals, file=None))


def _train(config: TrainConfig, run: RunFolder, dataset: Dataset | None, val: Dataset | None) -> Detector:
    begun, resumed = time.perf_counter(), run.has_weights()
    split, account = _read_data(config, run, dataset, val)
    images, classes, held_out = split.dataset.images, split.dataset.classes, len(split.held_out)
    refitted, first = split.first_fit != split.final_fit, len(split.first_fit)
    sizes = counted(len(images), "image"), counted(len(classes), "class")
    fits = f"{FIRST}: {first}; {FINAL}: {len(split.final_fit)}" if refitted else f"one fit, to {first}"
    logger.info("%s, %s; %d held out to choose thresholds: %s", *sizes, held_out, fits)
    with plan(*stages_of(config, split)):
        trainer = prepare(config, run, split, time.perf_counter() - begun)
        if dataset is None and not run.has_weights():
            run.split.unlink(missing_ok=True)
            record_division(config.data, run.split)
        run.record_images([split.keys[i] for i in split.final_fit])
        plot_labels(split, run.labels_picture)

        detector = trainer.fit("train", split.first_fit)
        detections, val_images = trainer.detect(detector, split.held_out), [images[i] for i in split.held_out]
        result = evaluate_voc(detections, val_images, classes)
        write_json(run.val, {"images": held_out, **result.as_dict()})
        with step(run.val.stem):
            most = max(len(curve.scores) for curve in result.curves.values())
            record("stage", examples=held_out, most=most, map_voc07=result.map_voc07, map_area=result.map_area)
        logger.info("map_voc07 on %s: %.4f", counted(held_out, "held-out image"), result.map_voc07)
        thresholds = choose_thresholds(result)
        calibration = fit_calibration([(c.scores, c.correct) for c in result.curves.values()], config.calibration)
        shown = [calibration.calibrate(found.above(thresholds)) for found in detections[:DRAWN]]
        drawn = val_images[:DRAWN]
        write_contact_sheet(run.val_picture, [each.read() for each in drawn], shown, classes, [*map(_truth, drawn)])
        if refitted:
            detector = trainer.fit("all", split.final_fit, known=split.first_fit)
    detector.thresholds, detector.calibration = thresholds, calibration
    session = Session(run, trainer.extractor.backbone.device, begun, resumed)
    write_detector_readme(session, config, account, result)
    detector.save(run.detector)
    shutil.rmtree(run.features, ignore_errors=True)
    logger.info("detector in %s", run.detector)
    return detector


def _truth(image: Annotations) -> list[tuple[Tensor, int, None]]:
    """Return the objects of an image, those that are difficult left out, to be drawn."""
    used = ~image.difficult
    return [(box, label, None) for box, label in zip(image.boxes[used], image.labels[used].tolist(), strict=True)]


def _read_data(
    config: TrainConfig, run: RunFolder, dataset: Dataset | None, val: Dataset | None
) -> tuple[Split, Account]:
    """Check and divide the images; a run that goes on has them divided as before."""
    divided = run.has_weights() and run.split.is_file()
    config = replace(config, data=replace(config.data, split_file=str(run.split))) if divided else config
    inventory = check_training_data(config) if dataset is None else None
    split = hold_out(config, dataset, val)
    account = take_account(split, inventory)
    if inventory:
        logger.info("%s", account)
    return split._replace(read=()), account


@dataclass(frozen=True, eq=False)
class Trainer:
    """The state that all fits of a run share. regions: the regions of each image."""

    config: TrainConfig
    run: RunFolder
    extractor: FeatureExtractor
    dataset: Dataset
    regions: Regions

    def fit(self, name: str, images: list[int], known: Sequence[int] = ()) -> Detector:
        """Fit a detector to the images with these indices.

        name: name of the step, part of its file names. known: images of the previous fit; mining resumes from its SVMs.
        """
        config, classes = self.config, self.dataset.classes
        if not config.finetune.epochs:
            cache = self._cache()
            cache.fill()
            heads = fit_heads(self.run, name, cache, images, classes, config, known)
        else:
            heads = self._finetune(name, images)
            if config.head != "softmax":
                heads = fit_heads(self.run, name, self._cache(), images, classes, config)
        heads = heads if config.box_regression.enabled else heads.without_box_regression()
        return Detector(_detector_config(config), self.dataset.classes, self.extractor, heads)

    def detect(self, detector: Detector, images: list[int]) -> list[Detections]:
        """Detect objects in the proposals of the images with these indices."""
        cache = self._cache()
        cache.fill(images)
        heads, selection = detector.heads, detector.config.selection

        def find(i: int) -> tuple[Tensor, ...]:
            regions = self.regions[i]
            if self.config.mirror:  # mirror images are not cached
                boxes = regions.boxes[regions.num_objects :]
                found = detector.encode(regions.annotations.read()).detect(boxes)
            else:
                proposals = torch.arange(regions.num_objects, len(regions.boxes))
                outputs = cache.apply_to_features(i, heads, proposals)
                found = postprocess(heads, outputs, regions.boxes[proposals], cache.size(i), selection)
            return found.boxes, found.labels, found.scores

        pairs = zip(progress(images, "held-out images"), spread(images, find), strict=True)
        return [Detections(boxes, labels, scores) for _, (boxes, labels, scores) in pairs]

    def _finetune(self, name: str, images: list[int]) -> Heads:
        """Fine-tune the extractor in place, from the same start in every step, and return the heads tuned with it."""
        config, backbone, layers = self.config, self.extractor.backbone, self.extractor.layers
        both = replace(config, head="softmax", box_regression=replace(config.box_regression, enabled=True))
        untuned = FeatureCache(self.extractor, self.regions, config.cache_gb)
        heads = fit_heads(self.run, "start", untuned, images, self.dataset.classes, both).to(backbone.device)
        file, start = self.run.finetuned(name), self.run.finetuned("start")
        if not file.is_file():
            shutil.rmtree(self.run.features, ignore_errors=True)  # They were computed before fine-tuning.
        scales = config.finetune.scales or config.spp.scales
        extractor = build_extractor(replace(config, spp=replace(config.spp, scales=scales)), backbone, layers)
        finetune(extractor, heads, self.regions.part(images), config, file, start)
        return heads

    def _cache(self) -> FeatureCache:
        """Return the cache of the current network's features; with fine-tuning it is in the run's folder."""
        folder = self.run.features if self.config.finetune.epochs else None
        return FeatureCache(self.extractor, self.regions, self.config.cache_gb, folder)


def prepare(config: TrainConfig, run: RunFolder, split: Split, checked: float = 0.0) -> Trainer:
    """Build the network, search the proposals of all images, and begin the run, or go on with it.

    checked: seconds that the check of the data took. Raises ConfigError as `train` does.
    """
    torch.manual_seed(config.seed)
    extractor = build_network(config, config.device, config.precision)  # before the hours that proposals may take
    last_conv_blocks(extractor.backbone, config.finetune.blocks, "finetune.blocks")
    bounded = bound_memory(config, extractor.dimension, len(split.dataset.classes), len(split.dataset))
    images = split.dataset.images
    boxes = propose(images, config.proposals, config.workers)
    regions = Regions(images, boxes)
    run.begin(config, _hash_data(extractor, regions, split))
    with step("proposals"):
        record("stage", examples=len(images), computed=getattr(boxes, "searched", 0), check_seconds=checked)
    return Trainer(bounded, run, extractor, split.dataset, regions)


def _hash_data(extractor: FeatureExtractor, regions: Sequence[ImageRegions], split: Split) -> str:
    """Return a hash of the weights, the images, their objects and proposals, and the role of each image."""

    def tensors() -> Iterator[Tensor]:
        yield from extractor.state_dict().values()
        for each in regions:
            yield from (each.boxes, each.annotations.labels, each.annotations.difficult)

    ids = [image.id for image in split.dataset.images]
    return content_key(ids, split.final_fit, split.held_out, hash_tensors(tensors()))
