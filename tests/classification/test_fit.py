"""The loop that trains a classifier's weights, on a small model and batches of numbers."""

from collections.abc import Iterator

import pytest
import torch
from contracts import assert_same_tensors
from factories import stopping
from torch import Tensor, nn

from sppdet.classification import training as module
from sppdet.classification.training import fit
from sppdet.config.classification import FitConfig
from sppdet.errors import SppdetError
from sppdet.files.atomic import load_tensors

FEATURES, STEPS = 8, 5
CONFIGS = [FitConfig(6, 12, "sgd", 0.1), FitConfig(6, 12, "adamw", 0.05, 0.01, label_smoothing=0.1)]


class Model(nn.Sequential):
    """With everything that has a state: dropout, batch normalization and a layer that is not trained."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES), nn.Dropout(0.1), nn.Linear(FEATURES, 3)
        )
        self[0].requires_grad_(False)


def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS):
        labels = torch.randint(3, (12,), generator=generator)
        yield torch.randn(12, FEATURES, generator=generator) + 2 * nn.functional.one_hot(labels, FEATURES), labels


@pytest.mark.parametrize("config", CONFIGS, ids=["sgd", "adamw"])
def test_it_learns_what_may_be_learnt_and_freezes_it(config, tmp_path):
    model, before = Model(), Model()
    course = fit(model, batches, STEPS, config, 0, tmp_path / "state.safetensors")
    assert [set(numbers) for numbers in course] == [{"loss", "accuracy"}] * 6
    assert course[-1]["loss"] < course[0]["loss"]
    assert course[-1]["accuracy"] > 0.7
    assert torch.equal(model[0].weight, before[0].weight)
    assert not torch.equal(model[3].weight, before[3].weight)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("config", CONFIGS, ids=["sgd", "adamw"])
@pytest.mark.parametrize("at", [STEPS + 2, 3 * STEPS, 5 * STEPS + 4])
def test_an_interrupted_fit_resumes(config, at, tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    expected = fit(Model(), batches, STEPS, config, 7, whole)
    with pytest.raises(KeyboardInterrupt), stopping(module.F, "cross_entropy", after=at):
        fit(Model(), batches, STEPS, config, 7, cut)
    begun: list[int] = []

    def counted(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        begun.append(epoch)
        return batches(epoch)

    model = Model()
    assert fit(model, counted, STEPS, config, 7, cut) == expected
    assert begun == list(range(at // STEPS, 6))
    assert_same_tensors(cut, whole)
    assert torch.equal(model[3].weight, load_tensors(whole)[0]["model.3.weight"])


def test_the_learning_rate_goes_up_and_down(tmp_path, monkeypatch):
    rates: list[float] = []
    step = torch.optim.SGD.step

    def watch(self: torch.optim.SGD, *arguments: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", watch)
    fit(Model(), batches, STEPS, FitConfig(4, 12, "sgd", 0.1), 0, tmp_path / "state.safetensors")
    top = rates.index(max(rates))
    assert len(rates) == 4 * STEPS
    assert max(rates) == pytest.approx(0.1)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.001


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    def broken(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in batches(epoch):
            yield inputs * float("inf"), labels

    file = tmp_path / "state.safetensors"
    with pytest.raises(SppdetError, match=r"fit\.learning_rate: the training has diverged"):
        fit(Model(), broken, STEPS, CONFIGS[0], 0, file)
    assert not file.exists()
