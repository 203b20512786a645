"""The picture of a training shows its losses."""

import numpy as np
import pytest

from sppdet.drawing.figures import new_figure
from sppdet.training import gradient_descent
from sppdet.training.gradient_descent import plot_losses


@pytest.mark.parametrize(("steps", "width"), [(10, 2), (3, 1), (100, 20)])
def test_losses_and_their_means_stand_over_the_epochs(steps, width, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(gradient_descent, "new_figure", lambda *size: figures.append(new_figure(*size)) or figures[-1])
    losses = np.random.default_rng(0).random(20).tolist()
    plot_losses(losses, steps, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    each, means = figures[0].axes[0].get_lines()
    assert each.get_ydata().tolist() == losses
    assert each.get_xdata() == pytest.approx(np.arange(1, 21) / steps)
    assert means.get_ydata() == pytest.approx([np.mean(losses[i : i + width]) for i in range(21 - width)])
    assert means.get_xdata()[-1] == 20 / steps
