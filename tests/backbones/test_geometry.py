"""The geometry worked out from the layers, against the pixels from which a cell really draws."""

from collections.abc import Callable

import pytest
import torch
from factories import examples
from hypothesis import given, strategies as st
from impulses import let_everything_through, measure
from torch import Tensor, fx, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.squeezenet import Fire

from sppdet.backbones.geometry import Geometry, geometries_of
from sppdet.backbones.tracing import trace
from sppdet.backbones.zoo import BACKBONES, build_backbone
from sppdet.errors import InputError


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_geometry_is_what_an_impulse_moves(name, axis):
    backbone = build_backbone(name, "random")
    shape = [1, 3, 64, 64]  # a strip is enough to see one axis
    (geometry,) = backbone.geometries
    shape[axis] = geometry.receptive_field + 5 * geometry.stride
    let_everything_through(backbone)
    assert measure(backbone, torch.ones(shape), axis) == geometry


@pytest.mark.parametrize(
    ("names", "center"),
    [
        (("zf5",), 20),
        (("caffenet", "squeezenet1_0"), 17),
        (("alexnet", "squeezenet1_1"), 15),
        (("vgg16", "vgg16_caffe"), 7.5),
        (("resnet18", "resnet50"), 0),
        (("efficientnet_lite0", "efficientnet_lite1"), 15),
        (("efficientnet_lite2",), 3),  # of its training images' 65 and 33 cells, no side is even
    ],
)
def test_known_centers(names, center):
    for name in names:
        geometry = build_backbone(name, "random").geometries[0]
        assert (geometry.stride, geometry.center) == (16, center)


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    if draw(st.booleans()):
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation=draw(st.integers(1, 2)), bias=False)


@examples(40)
@given(st.lists(layers(), min_size=1, max_size=3))
def test_any_stack_of_layers(stack):
    network = nn.Sequential(*stack, nn.Sequential(nn.ReLU(), nn.Dropout(), nn.Identity())).eval()
    let_everything_through(network)
    geometry = geometries_of(network)[0]
    side = 2 * geometry.receptive_field + 6 * geometry.stride
    assert measure(network, torch.ones(1, 1, side, side), axis=3) == geometry


def test_a_single_layer():
    assert geometries_of(nn.Conv2d(3, 8, 7, stride=2, padding=1)) == (Geometry(2, 2.0, 7),)
    assert geometries_of(nn.MaxPool2d(2)) == (Geometry(2, 0.5, 2),)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        *((nn.Conv2d(3, 3, (3, 5)), "not square"), (nn.Conv2d(3, 3, 3, stride=(1, 2)), "not square")),
        *((nn.Conv2d(3, 3, 3, padding="same"), "not square"), (nn.MaxPool2d((2, 3)), "not square")),
        (nn.Upsample(scale_factor=2), r"^Upsample 1: layer of unknown geometry"),
    ],
)
def test_layers_must_be_square_and_known(layer, said):
    with pytest.raises(InputError, match=said):
        geometries_of(nn.Sequential(nn.Conv2d(3, 3, 3), layer))


def test_branches_must_line_up():
    fire = Fire(8, 4, 8, 8)
    fire.expand3x3 = nn.Conv2d(4, 8, 3)
    for branched in (fire, BasicBlock(8, 8, stride=2, downsample=nn.Conv2d(8, 8, 1))):
        with pytest.raises(InputError, match=rf"{type(branched).__name__}.*line up"):
            geometries_of(branched)


class SqueezeAndExcitation(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        weights = torch.sigmoid(maps.mean((2, 3), keepdim=True))
        return maps * weights.expand_as(maps)


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(self.norm(maps.permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + maps


class Halves(nn.Module):
    """Halves of the channels that see 3 and 1 cells, and a slice of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        first, second = maps.chunk(2, dim=1)
        return torch.cat([self.layer(first), second, maps[:, :1]], dim=1)[:, :4, :, :]


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.layer(nn.functional.pad(maps, (0, 1, 0, 1)))


class Apart(nn.Module):
    """Branches whose cells are half a cell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.pool = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.AvgPool2d(2, ceil_mode=True)

    def forward(self, maps: Tensor) -> Tensor:
        return self.layer(maps) + self.pool(maps)


@pytest.mark.parametrize(
    ("layer", "center", "receptive_field"),
    [
        *((SqueezeAndExcitation(), 0, 3), (ChannelsLast(), 0, 3), (Halves(), 0, 7), (Padded(), 1, 5)),
        (Apart(), 0, 7),  # pixels -3 to 3 through the layer, -1 to 3 through the pool
    ],
    ids=lambda value: type(value).__name__,
)
def test_functions_between_layers(layer, center, receptive_field):
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), layer).eval()
    geometry = geometries_of(network)[0]
    assert (geometry.center, geometry.receptive_field) == (center, receptive_field)
    traced = fx.GraphModule(network, trace(network))
    let_everything_through(traced)
    assert measure(traced, torch.ones(1, 1, 40, 40), axis=3) == geometry


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda maps: maps[:, :, 1:], "getitem"),
        (lambda maps: maps[..., 1:], "getitem"),
        (lambda maps: maps[0], "getitem"),
        (lambda maps: maps.flatten(2), "flatten"),
        (lambda maps: maps.permute(0, 1, 3, 2), "permute"),
        (lambda maps: maps.mean(2), "mean"),
        (lambda maps: maps.chunk(2, dim=2)[0], "chunk"),
        (lambda maps: torch.cat([maps, maps]), "cat"),
        (lambda maps: torch.cat([maps, maps], dim=-1), "cat"),
        (lambda maps: nn.functional.interpolate(maps, scale_factor=2), "interpolate"),
    ],
)
def test_other_functions_are_named(function, name):
    with pytest.raises(InputError, match=rf"^Calls 1: function of unknown geometry \(got {name}"):
        geometries_of(nn.Sequential(nn.Conv2d(3, 4, 3), Calls(function)))


@pytest.mark.parametrize(
    "function", [lambda maps: maps.permute(0, 2, 3, 1), lambda maps: maps.mean((-1, -2)), lambda maps: maps.shape[2]]
)
def test_a_network_must_compute_a_map(function):
    with pytest.raises(InputError, match=r"Calls: does not compute a map"):
        geometries_of(Calls(function))[0]
