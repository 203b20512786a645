"""Recording a network's graph changes nothing outside it, and nothing in it for good."""

import pytest
import torch
from torch import Tensor, nn

from sppdet.backbones.tracing import trace
from sppdet.errors import InputError


class Scaled(nn.Module):
    """A layer and a parameter; calls another network on the way."""

    def __init__(self, other: nn.Module, fails: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)
        self.factor = nn.Parameter(torch.full((4,), 2.0))
        self.unused = nn.Parameter(torch.zeros(1))
        self.other, self.fails, self.seen = [other], fails, []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(self.other[0](torch.ones(1, 3, 2, 2)))
        if self.fails and images.sum() > 0:
            return images
        return self.layer(images) * self.factor.reshape(1, -1, 1, 1)


def test_calls_parameters_and_what_is_computed_from_them_become_nodes():
    graph = trace(nn.Sequential(Scaled(nn.Identity()), nn.ReLU()))
    used = [(node.op, str(node.target), node.meta["layer"]) for node in graph.nodes if node.users]
    assert used == [
        ("get_attr", "0.factor", ""),
        ("placeholder", "images", ""),
        ("call_module", "0.layer", "0"),
        ("call_method", "reshape", "0"),
        ("call_function", "<built-in function mul>", "0"),
        ("call_module", "1", ""),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_other_networks_run_meanwhile_and_this_one_is_as_before(fails):
    other, image = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), torch.rand(1, 3, 4, 4)
    network = nn.Sequential(Scaled(other, fails), nn.ReLU())
    before, state = network(image), {name: id(tensor) for name, tensor in network.named_parameters()}
    if fails:
        with pytest.raises(InputError, match=r"^Scaled 0: layer cannot be traced \(got TraceError: "):
            trace(network)
    else:
        trace(network)
    assert torch.equal(network[0].seen[1], network[0].seen[0])
    assert torch.equal(network(image), before)
    assert {name: id(tensor) for name, tensor in network.named_parameters()} == state
    for module in network.modules():
        assert "forward" not in vars(module)
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
