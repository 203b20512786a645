"""Gradient descent on images or pooled features with labels, one cycle of the learning rate."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from sppdet.config.classification import FitConfig
from sppdet.training.gradient_descent import Descent, Loss, descend

# Inputs of the model, such as pixels uint8 (B, 3, H, W), with labels int64 (B,).
Batch = tuple[Tensor | list[Tensor], Tensor]
MOMENTUM = 0.9

logger = logging.getLogger(__name__)


def fit(
    model: nn.Module, batches: Callable[[int], Iterable[Batch]], steps: int, config: FitConfig, seed: int, file: Path
) -> list[dict[str, float]]:
    """Minimize the cross-entropy of a model's scores (B, K) over those of its weights that require gradients.

    batches: the batches of an epoch, at most `steps`, the same whenever they are asked for. file: the checkpoint from
    which an interrupted training resumes. The weights are frozen at the end. Returns the mean `loss` and the `accuracy`
    of each epoch on its batches. Raises SppdetError if the loss is not finite.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer: Optimizer
    if config.optimizer == "sgd":
        optimizer = SGD(weights, config.learning_rate, MOMENTUM, weight_decay=config.weight_decay)
    else:
        optimizer = AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    scheduler = OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * steps)

    def losses(batch: Batch) -> Iterator[Loss]:
        scores = model(batch[0])
        labels = batch[1].to(scores.device)
        correct = float((scores.argmax(1) == labels).sum())
        loss = F.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
        yield loss, {"correct": correct, "images": len(labels)}

    model.train()
    course = Descent("fit", config.epochs, steps, seed, file)
    history = descend(model, optimizer, scheduler, batches, losses, course)
    model.requires_grad_(False).eval()
    epochs = []
    for epoch in history:
        images = sum(epoch["images"])
        loss = sum(count * value for count, value in zip(epoch["images"], epoch["loss"], strict=True))
        epochs.append({"loss": loss / images, "accuracy": sum(epoch["correct"]) / images})
    logger.info("fit: %.3f of the last epoch's images classified correctly", epochs[-1]["accuracy"])
    return epochs
