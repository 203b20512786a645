"""Training of a classifier on a folder of images: its network frozen or tuned, at one size or several (section 3)."""

from __future__ import annotations

import logging
from functools import partial

import torch
from torch import nn

from sppdet.classification.batches import Epochs
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.evaluation import measure_topk_correct, summarize
from sppdet.classification.fit import fit
from sppdet.config.classification import TrainClassifierConfig
from sppdet.data.image_folder import ImageFolder, read_image_folder
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import content_key, hash_tensors, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.training.gradient_descent import scale_to_norm

logger = logging.getLogger(__name__)

NORM_IMAGES = 64  # for the mean norm of the features


def train_classifier(config: TrainClassifierConfig) -> Classifier:
    """Train a classifier into `config.output`, resuming where an earlier call stopped.

    Raises ConfigError if the folder holds a run of another configuration or of other data, DataError if there are fewer
    than two classes, ImageError if an image cannot be decoded.
    """
    if not config.data.train:
        raise ConfigError("no data given", field="data.train", expected="a folder: --data.train PATH")
    run = RunFolder(config.output)
    run.check_config(config)
    if run.classifier.is_file():
        logger.info("%s is trained already; to train again, remove it or give another --output", run.path)
        classifier = Classifier.load(run.path, config.device, config.precision)
        if config.data.val and not run.val.is_file():
            _evaluate(classifier, read_image_folder(config.data.val, classifier.classes), config)
        return classifier
    images = read_image_folder(config.data.train)
    if len(images.classes) < 2:
        raise DataError("too few classes", file=config.data.train, expected="2 folders or more", got=images.classes[0])
    val = read_image_folder(config.data.val, images.classes) if config.data.val else None
    torch.manual_seed(config.seed)
    classifier = new_classifier(config, images.classes, config.device, config.precision, config.dropout)
    weights = hash_tensors([images.labels, *classifier.state_dict().values()])
    run.check_data(content_key([(str(file), file.stat().st_size) for file in images.files], weights))
    epochs = Epochs(images, config)
    classifier.unfreeze(config.blocks)
    _check_network(classifier, config)
    _scale_features(classifier, epochs)
    logger.info("%d images, %d classes", len(images.files), len(images.classes))
    training = (epochs.steps, config.fit, config.seed, run.training_state)
    fits = epochs.pooled_bytes(classifier.pooled) <= config.memory_gb * 1e9
    if config.blocks == 0 and config.view != "crop" and fits:
        history = fit(classifier.head, partial(epochs.pooled, classifier=classifier), *training)
    else:
        history = fit(classifier, epochs.pixels, *training)
    write_json(run.training_history, [{"size": epochs.size(i), **numbers} for i, numbers in enumerate(history)])
    classifier.save(run.classifier)
    run.training_state.unlink()
    if val:
        _evaluate(classifier, val, config)
    return classifier


def _evaluate(classifier: Classifier, val: ImageFolder, config: TrainClassifierConfig) -> None:
    """Measure the accuracy on the held-out images."""
    accuracy = summarize(measure_topk_correct([classifier], val)[0], val)
    write_json(RunFolder(config.output).val, accuracy.as_dict())
    logger.info("accuracy on %s: %.3f", config.data.val, accuracy.topk["top1"].mean)


def _scale_features(classifier: Classifier, epochs: Epochs) -> None:
    """Scale the input of the last layer to the mean norm `feature_norm`."""
    samples = [sample for batch in epochs.plan(0) for sample in batch][:NORM_IMAGES]
    features = (classifier.head.features(classifier.pool([epochs.read(sample)])) for sample in samples)
    classifier.head.scale.fill_(scale_to_norm(epochs.config.feature_norm, features))


def _check_network(classifier: Classifier, config: TrainClassifierConfig) -> None:
    """Raise ConfigError or InputError if the network cannot be trained on these views or sizes."""
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    if config.view == "full" and any(norm.weight.requires_grad for norm in norms):
        reason = "batch normalization cannot be trained on images one by one"
        raise ConfigError(reason, field="view", expected="crop or warp, or a number of blocks", got="full")
    smallest = min(config.sizes)
    with torch.no_grad():
        classifier.pool(torch.zeros(1, 3, smallest, smallest, dtype=torch.uint8))  # raises InputError
