"""The loss of a training as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from sppdet.drawing.figures import new_figure, save_figure


def plot_losses(losses: Sequence[float], steps: int, path: str | PathLike[str]) -> None:
    """Draw the loss of every step, and its moving mean over a fifth of an epoch, as a PNG.

    steps: steps per epoch. Raises SppdetError if the file cannot be written.
    """
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    epochs = np.arange(1, len(losses) + 1) / steps
    width = min(max(1, steps // 5), len(losses))
    means = np.convolve(losses, np.full(width, 1 / width), mode="valid")
    axes.plot(epochs, losses, ".", markersize=2, alpha=0.3, label="one step")
    axes.plot(epochs[width - 1 :], means, label=f"mean of {width} steps")
    axes.set(xlabel="epochs", ylabel="loss", xlim=(0, epochs[-1]), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, frameon=False)
    save_figure(figure, path)
