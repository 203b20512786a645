"""Pictures of a training: its losses step by step, and the objective of the SVMs refit by refit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sppdet.drawing.figures import new_axes, new_figure, save_figure
from sppdet.files.metrics import Row
from sppdet.wording import counted

COLORS = ("#0072b2", "#e69f00")  # told apart by everybody


def plot_losses(epochs: Sequence[Sequence[float]], steps: int, path: Path) -> None:
    """Draw the loss of every step, its moving mean over a fifth of an epoch, and the mean of each epoch, as a PNG.

    epochs: the losses of each epoch. steps: steps per epoch, at most. Raises SppdetError if the file cannot be written.
    """
    figure, axes = new_axes(6.5, 3.6)
    losses = [loss for epoch in epochs for loss in epoch]
    ends = np.cumsum([len(epoch) for epoch in epochs]) / steps
    places = np.arange(1, len(losses) + 1) / steps
    width = min(max(1, steps // 5), len(losses))
    moving = np.convolve(losses, np.full(width, 1 / width), mode="valid")
    means = [float(np.mean(epoch)) for epoch in epochs]
    axes.plot(places, losses, ".", color=COLORS[0], markersize=2, alpha=0.3, label="one step")
    axes.plot(places[width - 1 :], moving, color=COLORS[0], linewidth=1, label=f"mean of {counted(width, 'step')}")
    axes.plot(ends, means, "o", color=COLORS[1], markersize=5, label="mean of the epoch before")
    axes.set(xlabel="epochs", ylabel="loss", xlim=(0, 1.01 * ends[-1]), ylim=(0, None))
    axes.set_title(f"{path.stem}: mean loss {means[-1]:.4g} in epoch {len(epochs)}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, frameon=False)
    save_figure(figure, path)


def plot_objective(refits: Sequence[Row], path: Path) -> None:
    """Draw the objective of the SVMs, all classes added up, and the number of examples, at each refit, as a PNG.

    The objective falls with a better fit and rises with new examples. refits: rows of the recorder. Raises SppdetError
    if the file cannot be written.
    """
    figure = new_figure(6.5, 4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    numbers = [row["number"] for row in refits]
    for axes, key, name, color in (
        (upper, "objective", "objective", COLORS[0]),
        (lower, "examples", "examples", COLORS[1]),
    ):
        values = [row[key] for row in refits]
        axes.plot(numbers, values, "o-", color=color, markersize=4)
        axes.set_ylabel(name)
        axes.set_ylim(0, 1.08 * max(values) or 1)
        axes.grid(alpha=0.3)
    lower.set_xlabel("refit")
    lower.xaxis.get_major_locator().set_params(integer=True)
    last = refits[-1]
    title = (
        f"{path.stem}: objective {last['objective']:.4g}, gap at most {last['gap']:.2%}, {last['examples']} examples"
    )
    upper.set_title(title, fontsize=10)
    save_figure(figure, path)
