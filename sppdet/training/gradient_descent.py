"""Gradient descent, epoch after epoch, resumed where it was interrupted."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sppdet.errors import SppdetError
from sppdet.files.checkpoint import load_checkpoint, save_checkpoint
from sppdet.files.recorder import record, step
from sppdet.heads.linear import mean_norm
from sppdet.runtime.memory import trim_memory
from sppdet.runtime.progress import start_bar
from sppdet.runtime.ranks import add_up, exchange, rank, take_first, world
from sppdet.training.plots import plot_losses

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A part of a batch's loss, and numbers to record with it, such as the images classified correctly.
Loss = tuple[Tensor, dict[str, float]]
# For each epoch the `loss` of every step, and the other numbers recorded, by name; each is summed over a step's parts.
History = list[dict[str, list[float]]]


@dataclass(frozen=True)
class Descent:
    """The course of a gradient descent.

    name: section of the configuration, for the progress bar and errors. steps: batches per epoch, at most. file: the
    checkpoint written after every epoch; the loss is drawn next to it. clip: limit of the gradient's L2 norm. divided:
    each rank gives the losses of its part of a batch; otherwise all ranks do the same.
    """

    name: str
    epochs: int
    steps: int
    seed: int
    file: Path
    clip: float = math.inf
    divided: bool = False


def descend(
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    batches: Callable[[int], Iterable[T]],
    losses: Callable[[T], Iterator[Loss]],
    course: Descent,
) -> History:
    """Minimize the losses in place, or resume from the checkpoint of an interrupted descent, and return its history.

    batches: the batches of an epoch, the same at every call. losses: the loss of a batch in parts, whose
    gradients are computed one after the other. Raises SppdetError if the loss or its gradient is not finite,
    WeightsError if the checkpoint is of another model.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    history: History = []
    if course.file.is_file():
        history = load_checkpoint(course.file, model, optimizer)["history"]
        scheduler.last_epoch = sum(len(epoch["loss"]) for epoch in history)
    total = course.epochs * course.steps
    with start_bar(course.name, total, "step", len(history) * course.steps) as bar:
        for number in range(len(history), course.epochs):
            torch.manual_seed(course.seed + number + course.divided * (rank() << 32))  # of dropout
            epoch: dict[str, list[float]] = {}
            for batch in trim_memory(batches(number)):
                optimizer.zero_grad()
                parts = {"loss": 0.0}
                for loss, counts in losses(batch):
                    loss.backward()
                    for name, value in {"loss": float(loss.detach()), **counts}.items():
                        parts[name] = parts.get(name, 0.0) + value
                if course.divided and world() > 1:
                    parts = _add_ranks(weights, parts)
                norm = float(nn.utils.clip_grad_norm_(weights, course.clip))
                if not math.isfinite(parts["loss"]) or not math.isfinite(norm):
                    field, peak = f"{course.name}.learning_rate", optimizer.defaults["lr"]
                    raise SppdetError("the training has diverged", field=field, expected="a lower one", got=peak)
                optimizer.step()
                scheduler.step()
                for name, value in parts.items():
                    epoch.setdefault(name, []).append(value)
                bar.set_postfix(epoch=number + 1, loss=f"{np.mean(epoch['loss'][-50:]):.3f}", refresh=False)
                bar.update()
            history.append(epoch)
            take_first(model.state_dict().values())  # other machines may differ in the last digits
            if rank():
                continue
            logger.info("%s: mean loss %.4f in epoch %d", course.name, np.mean(epoch["loss"]), number + 1)
            with step(course.file.stem):
                record("epoch", number + 1, **summarize_epoch(epoch))
            plot_losses([past["loss"] for past in history], course.steps, course.file.with_suffix(".png"))
            save_checkpoint(course.file, model, optimizer, {"history": history})
    return history


def _add_ranks(weights: Sequence[Tensor], parts: Mapping[str, float]) -> dict[str, float]:
    """Add up the gradients of all ranks, and return the sums of their numbers.

    DistributedDataParallel wraps one forward of one module, and waits for a gradient of every rank. Here a step has a
    loss for each image, through parts of several modules, and a rank may have no image of the last batch.
    """
    for weight in weights:
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    add_up(weight.grad for weight in weights if weight.grad is not None)
    total: dict[str, float] = {}
    for each in exchange({name: torch.tensor(value, dtype=torch.float64) for name, value in parts.items()}):
        total |= {name: total.get(name, 0.0) + float(value) for name, value in each.items()}
    return total


def scale_to_norm(norm: float, features: Iterable[Tensor]) -> float:
    """Return the factor that gives the rows of these features (n, D) the mean L2 norm `norm`."""
    with torch.no_grad():
        return norm / mean_norm(torch.cat(list(features)))


def summarize_epoch(epoch: dict[str, list[float]]) -> dict[str, float]:
    """Return the mean `loss` of an epoch and, if they were recorded, the number of images and the `accuracy`."""
    if "correct" not in epoch:
        return {"loss": float(np.mean(epoch["loss"]))}
    images = sum(epoch["images"])
    loss = sum(count * value for count, value in zip(epoch["images"], epoch["loss"], strict=True))
    return {"examples": int(images), "loss": loss / images, "accuracy": sum(epoch["correct"]) / images}
