from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from sppdet.drawing.figures import new_axes
from sppdet.errors import SppdetError
from sppdet.training import plots
from sppdet.training.gradient_descent import Descent, History, Loss, descend, scale_to_norm
from sppdet.training.plots import plot_losses

STEPS = 4


@pytest.fixture
def course(tmp_path) -> Descent:
    return Descent("finetune", 3, STEPS, 0, tmp_path / "state.safetensors")


def batches(epoch: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS - epoch % 2):  # an epoch may have fewer batches than it is planned for
        yield torch.randn(6, 5, generator=generator)


def run(course: Descent, parts: int = 1, limit: int = 100, factor: float = 1.0) -> tuple[nn.Linear, History]:
    torch.manual_seed(0)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    seen = []

    def losses(batch: Tensor) -> Iterator[Loss]:
        seen.append(batch)
        if len(seen) > limit:
            raise KeyboardInterrupt
        for rows in batch.chunk(parts):
            yield factor * (model(rows) - 1).square().sum() / len(batch), {"rows": len(rows)}

    return model, descend(model, optimizer, scheduler, batches, losses, course)


def test_a_batch_in_parts_takes_the_same_step(course):
    whole, history = run(course)
    parts, same = run(replace(course, file=course.file.with_name("parts.safetensors")), parts=3)
    torch.testing.assert_close(parts.weight, whole.weight)
    assert [len(epoch["loss"]) for epoch in history] == [4, 3, 4]
    assert [epoch["rows"] for epoch in history] == [epoch["rows"] for epoch in same] == [[6] * n for n in (4, 3, 4)]
    assert history[2]["loss"][-1] < history[0]["loss"][0]
    assert course.file.with_suffix(".png").is_file()


@pytest.mark.parametrize("limit", [5, 7, 10])
def test_an_interrupted_descent_resumes(course, limit):
    whole, history = run(course)
    cut = replace(course, file=course.file.parent / "cut" / course.file.name)  # whose name is in its key
    with pytest.raises(KeyboardInterrupt):
        run(cut, limit=limit)
    resumed, same = run(cut)
    assert same == history
    assert torch.equal(resumed.weight, whole.weight)
    assert cut.file.read_bytes() == course.file.read_bytes()


def test_a_gradient_that_is_not_finite_is_an_error(course):
    with pytest.raises(SppdetError, match=r"finetune\.learning_rate: the training has diverged .*got 0\.1"):
        run(course, factor=float("inf"))
    assert not Path(course.file).exists()


def test_features_are_scaled_to_a_mean_norm():
    features = [torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])]
    assert scale_to_norm(20.0, features) == pytest.approx(10.0)


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(("steps", "width"), [(10, 2), (3, 1), (100, 20)])
def test_losses_and_their_means_stand_over_the_epochs(steps, width, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "new_axes", lambda *size: figures.append(new_axes(*size)) or figures[-1])
    losses = np.random.default_rng(0).random(20).tolist()
    plot_losses([losses[i : i + steps] for i in range(0, 20, steps)], steps, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    each, means, of_epochs = figures[0][1].get_lines()
    assert each.get_ydata().tolist() == losses
    assert each.get_xdata() == pytest.approx(np.arange(1, 21) / steps)
    assert means.get_ydata() == pytest.approx([np.mean(losses[i : i + width]) for i in range(21 - width)])
    assert means.get_xdata()[-1] == 20 / steps
    assert of_epochs.get_xdata()[-1] == 20 / steps
    assert of_epochs.get_ydata()[0] == pytest.approx(np.mean(losses[:steps]))
