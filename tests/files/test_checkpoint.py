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


@pytest.mark.parametrize("damage", ["shape", "name", "swapped"])
def test_a_checkpoint_of_another_training_loads_nothing(tmp_path, damage) -> None:
    torch.manual_seed(0)
    other = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5 if damage == "shape" else 2))
    file = tmp_path / "c.safetensors"
    save_checkpoint(file, other, torch.optim.SGD(other.parameters(), 0.1), {})
    if damage == "swapped":
        file = file.rename(tmp_path / "d.safetensors")
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    if damage == "name":
        model.append(nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"[cd]\.safetensors.*remove"):
        load_checkpoint(file, model, torch.optim.SGD(model.parameters(), 0.1))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
