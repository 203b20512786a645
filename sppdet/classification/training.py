"""Training of a classifier on a folder of images: its network frozen or tuned, at one size or several (section 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.epochs import Batch, Epochs
from sppdet.classification.evaluation import measure_topk_correct, summarize
from sppdet.classification.run_readme import write_classifier_readme
from sppdet.config.classification import FitConfig, TrainClassifierConfig
from sppdet.data.checks.readable import keep_readable_files
from sppdet.data.formats.image_folder import ImageFolder, read_image_folder
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import content_key, hash_tensors, write_json
from sppdet.files.recorder import record, recording, step
from sppdet.files.run_folder import RunFolder
from sppdet.runtime.progress import Stage, plan
from sppdet.runtime.ranks import rank, spread, world
from sppdet.training.followers import begin, follow
from sppdet.training.gradient_descent import Descent, Loss, descend, scale_to_norm, summarize_epoch
from sppdet.training.run_readme import Session
from sppdet.wording import counted

logger = logging.getLogger(__name__)

MOMENTUM = 0.9
NORM_IMAGES = 64  # for the mean norm of the features
# Seconds per image, measured with EfficientNet-Lite0 on 2 cores: only their ratios count.
FORWARD, FROM_POOLED, TUNED = 0.05, 0.0001, 0.15


def train_classifier(config: TrainClassifierConfig) -> Classifier:
    """Train a classifier into `config.output`, resuming where an earlier call stopped.

    Raises ConfigError if the folder holds a run of another configuration or of other data, or files of the user's, and
    waits for another process that trains this one there. Raises DataError if there are fewer
    than two classes, ImageError if images cannot be decoded, unless they are skipped. Until the data and the network
    are checked, nothing is written.
    """
    if not config.data.train:
        raise ConfigError("no data given", field="data.train", expected="a folder: --data.train PATH")
    with follow(config) as config:
        return _train_or_load(config)


def _train_or_load(config: TrainClassifierConfig) -> Classifier:
    run = RunFolder(config.output)
    run.check_config(config)
    if not run.classifier.is_file():
        with run.hold(config), recording(run.path, config.tensorboard):
            begin(run)
            if not run.classifier.is_file():  # which another process may have finished meanwhile
                return _train(config, run)
    else:
        begin(run)
        run.tidy()
    begun = time.perf_counter()
    logger.info("%s is trained already; to train again, remove it or give another --output", run.path)
    classifier = Classifier.load(run.path, config.device, config.precision)
    if not run.readme.is_file() or (config.data.val and not run.val.is_file()):  # written after the classifier
        with run.hold(config), recording(run.path, config.tensorboard):
            _finish(Session(run, classifier.backbone.device, begun, True), config, classifier, *_read_folders(config))
    return classifier


def _train(config: TrainClassifierConfig, run: RunFolder) -> Classifier:
    begun, resumed = time.perf_counter(), run.has_weights()
    folders, kept = _read_folders(config)
    images = kept[0]
    torch.manual_seed(config.seed)
    classifier = new_classifier(config, images.classes, config.device, config.precision, config.dropout)
    weights = hash_tensors([images.labels, *classifier.state_dict().values()])
    key = content_key([(str(file), file.stat().st_size) for file in images.files], weights)
    epochs = Epochs(images, config)
    classifier.unfreeze(config.blocks)
    _check_network(classifier, config)
    samples = [sample for batch in epochs.plan(0) for sample in batch][:NORM_IMAGES]
    features = spread(samples, lambda sample: (classifier.head.features(classifier.pool([epochs.read(sample)])),))
    classifier.head.scale.fill_(scale_to_norm(config.feature_norm, (rows for (rows,) in features)))
    logger.info("%s, %s", counted(len(images.files), "image"), counted(len(images.classes), "class"))
    run.begin(config, key)
    run.record_images([content_key(file) for file in images.files])
    training = (epochs.steps, config.fit, config.seed, run.training_state)
    fits = epochs.pooled_bytes(classifier.pyramids.dimension) <= config.memory_gb * 1e9
    views = epochs.views() if config.blocks == 0 and config.view != "crop" and fits else []
    step_seconds = config.fit.batch_size * (FROM_POOLED if views else TUNED)
    stages = [Stage("features", len(views), FORWARD)] if views else []
    stages += [Stage("fit", config.fit.epochs * epochs.steps, step_seconds)]
    stages += [Stage("classify", len(val.files), FORWARD) for val in kept[1:]]
    with plan(*stages):
        if views:
            epochs.pool(views, classifier)
            history = fit(classifier.head, epochs.pooled, *training)
        else:
            history = fit(classifier, epochs.pixels, *training, divided=True)
        write_json(run.training_history, [{"size": epochs.size(i), **numbers} for i, numbers in enumerate(history)])
        classifier.save(run.classifier)
        run.training_state.unlink(missing_ok=True)  # of rank 0
        _finish(Session(run, classifier.backbone.device, begun, resumed), config, classifier, folders, kept)
    return classifier


def _read_folders(config: TrainClassifierConfig) -> tuple[list[ImageFolder], list[ImageFolder]]:
    """Return the images to train on and, if any, those of data.val, and both without those that are left out."""
    outside = config.data.allow_outside
    images = read_image_folder(config.data.train, allow_outside=outside)
    if len(images.classes) < 2:
        raise DataError("too few classes", file=config.data.train, expected="2 folders or more", got=images.classes[0])
    val = [read_image_folder(config.data.val, images.classes, outside)] if config.data.val else []
    folders = [images, *val]
    return folders, keep_readable_files(folders, config.data.skip_unreadable, config.workers)


def _finish(
    session: Session,
    config: TrainClassifierConfig,
    classifier: Classifier,
    read: Sequence[ImageFolder],
    kept: Sequence[ImageFolder],
) -> None:
    """Measure the accuracy on the images of data.val, if there are any, and write the README of the run."""
    accuracy = None
    for val in kept[1:]:
        accuracy = summarize(measure_topk_correct([classifier], val)[0], val)
        write_json(session.run.val, accuracy.as_dict())
        with step(session.run.val.stem):
            record("stage", examples=accuracy.images, accuracy=accuracy.topk["top1"].mean)
        logger.info("accuracy on %s: %.3f", config.data.val, accuracy.topk["top1"].mean)
    write_classifier_readme(session, config, read, kept, accuracy)


def _check_network(classifier: Classifier, config: TrainClassifierConfig) -> None:
    """Raise ConfigError or InputError if the network cannot be trained on these views or sizes."""
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    if config.view == "full" and any(norm.weight.requires_grad for norm in norms):
        reason = "batch normalization cannot be trained on images one by one"
        raise ConfigError(reason, field="view", expected="crop or warp, or a number of blocks", got="full")
    if config.blocks is None and norms and world() > 1:
        raise ConfigError("batch normalization is trained in one process", field="blocks", expected="a number")
    smallest = min(config.sizes)
    with torch.no_grad():
        classifier.pool(torch.zeros(1, 3, smallest, smallest, dtype=torch.uint8))  # raises InputError


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    config: FitConfig,
    seed: int,
    file: Path,
    divided: bool = False,
) -> list[dict[str, float]]:
    """Minimize the cross-entropy of a model's scores (B, K), in one cycle of the learning rate.

    It trains the weights that require gradients, and freezes them at the end. batches: the batches of an epoch, at most
    `steps`, the same at every call. divided: each rank has its part of the inputs. file: the checkpoint from which an
    interrupted training resumes. Returns the mean `loss` and the `accuracy` of each epoch on its batches. Raises
    SppdetError if the loss is not finite.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    kind = partial(SGD, momentum=MOMENTUM) if config.optimizer == "sgd" else AdamW
    optimizer: Optimizer = kind(weights, config.learning_rate, weight_decay=config.weight_decay)
    scheduler = OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * steps)

    def losses(batch: Batch) -> Iterator[Loss]:
        inputs, labels = batch
        if len(inputs):  # other ranks may have the whole last batch
            scores = model(inputs)
            own = (labels[rank() :: world()] if divided else labels).to(scores.device)
            correct = float((scores.argmax(1) == own).sum())
            loss = F.cross_entropy(scores, own, label_smoothing=config.label_smoothing)
            yield loss * (len(own) / len(labels)), {"correct": correct, "images": len(own)}

    model.train()
    course = Descent("fit", config.epochs, steps, seed, file, divided=divided)
    history = descend(model, optimizer, scheduler, batches, losses, course)
    model.requires_grad_(False).eval()
    epochs = [{name: summarize_epoch(epoch)[name] for name in ("loss", "accuracy")} for epoch in history]
    logger.info("fit: %.3f of the last epoch's images classified correctly", epochs[-1]["accuracy"])
    return epochs
