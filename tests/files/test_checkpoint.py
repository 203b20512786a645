import pytest
import torch
from torch import nn

from sppdet.errors import WeightsError
from sppdet.files.checkpoint import load_checkpoint, save_checkpoint


def step(model: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.arange(3.0)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, lambda weights: torch.optim.SGD(weights, 0.01, momentum=0.9)])
def test_steps_after_a_checkpoint_are_those_without(tmp_path, kind) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = kind(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, {"losses": [1.5, 2]})
    other = nn.Linear(3, 2)
    memory = kind(other.parameters())
    assert load_checkpoint(tmp_path / "c.safetensors", other, memory) == {"losses": [1.5, 2]}
    for _ in range(2):
        step(model, optimizer)
        step(other, memory)
    assert torch.equal(model.weight, other.weight)
    assert torch.equal(model.bias, other.bias)


def test_a_checkpoint_before_the_first_step_has_no_memory_and_one_that_is_not_there_is_an_error(tmp_path) -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, {})
    assert load_checkpoint(tmp_path / "c.safetensors", model, optimizer) == {}
    assert not optimizer.state_dict()["state"]
    with pytest.raises(WeightsError, match="file not found"):
        load_checkpoint(tmp_path / "none.safetensors", model, optimizer)
