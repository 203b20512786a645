"""Gradient descent on batches of any inputs with labels, epoch after epoch, resumed where it was interrupted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from sppdet.config.classification import FitConfig
from sppdet.errors import ConfigError, SppdetError
from sppdet.files.checkpoint import load_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

# What a model takes, such as pixels uint8 (B, 3, H, W), with labels int64 (B,).
Batch = tuple[Tensor | list[Tensor], Tensor]
MOMENTUM = 0.9


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    config: FitConfig,
    seed: int,
    file: Path,
) -> list[dict[str, float]]:
    """Train those of a model's weights that require gradients to give the labels' classes the highest scores (B, K).

    batches: those of an epoch, at most `steps`, the same whenever they are asked for. After every epoch the model and
    the optimizer's memory are written to `file`, from where an interrupted training goes on. The weights are frozen at
    the end. Returns the mean `loss` and `accuracy` of each epoch, on its batches. Raises SppdetError where the loss is
    not finite.
    """
    check_fit(config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer: Optimizer
    if config.optimizer == "sgd":
        optimizer = SGD(weights, config.learning_rate, MOMENTUM, weight_decay=config.weight_decay)
    else:
        optimizer = AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
    schedule = OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * steps)
    epochs: list[dict[str, float]] = []
    if file.is_file():
        progress = load_checkpoint(file, model, optimizer)
        epochs, schedule.last_epoch = progress["epochs"], progress["steps"]
    model.train()
    with tqdm(total=config.epochs * steps, initial=len(epochs) * steps, desc="training", unit="step") as bar:
        for epoch in range(len(epochs), config.epochs):
            torch.manual_seed(seed + epoch)  # of dropout
            seen = right = loss_sum = 0.0
            for inputs, labels in batches(epoch):
                scores = model(inputs)
                labels = labels.to(scores.device)
                loss = F.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise SppdetError("the loss is not finite", field="fit.learning_rate", got=value)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                seen += len(labels)
                right += float((scores.argmax(1) == labels).sum())
                loss_sum += len(labels) * value
                shown = {"epoch": epoch + 1, "loss": f"{loss_sum / seen:.3f}", "accuracy": f"{right / seen:.3f}"}
                bar.set_postfix(shown, refresh=False)
                bar.update()
            epochs.append({"loss": loss_sum / seen, "accuracy": right / seen})
            save_checkpoint(file, model, optimizer, {"epochs": epochs, "steps": schedule.last_epoch})
    logger.info("training: %.3f of the last epoch's images classified rightly", epochs[-1]["accuracy"])
    model.requires_grad_(False).eval()
    return epochs


def check_fit(config: FitConfig) -> None:
    """Raise ConfigError for values that cannot be used."""
    for field in ("epochs", "batch_size", "learning_rate"):
        if getattr(config, field) <= 0:
            raise ConfigError("out of range", field=f"fit.{field}", expected="more than 0", got=getattr(config, field))
    if not 0 <= config.label_smoothing < 1:
        expected, got = "from 0 to below 1", config.label_smoothing
        raise ConfigError("out of range", field="fit.label_smoothing", expected=expected, got=got)
