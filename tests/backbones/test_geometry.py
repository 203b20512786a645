"""The geometry worked out from the layers, against the pixels from which a cell really draws."""

import pytest
import torch
from factories import examples
from hypothesis import given, strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.squeezenet import Fire

from sppdet.backbones.geometry import Geometry, geometry_of
from sppdet.backbones.zoo import BACKBONES, build_backbone
from sppdet.errors import InputError


def let_everything_through(network: nn.Module) -> None:
    """Positive convolutions, averages for maxima, no bounds: every pixel of a receptive field moves its cell."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool)
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.Identity())


def extent(network: nn.Module, image: torch.Tensor, axis: int, cell: int) -> tuple[int, int]:
    """First and last pixel along `axis` of an image that move the cells at `cell` of the map."""
    image = image.clone().requires_grad_()
    (moved,) = torch.autograd.grad(network(image).select(axis, cell).sum(), image)
    pixels = torch.nonzero(moved.transpose(axis, -1).flatten(0, -2).abs().sum(dim=0)).flatten()
    return int(pixels[0]), int(pixels[-1])


def measure(network: nn.Module, image: torch.Tensor, axis: int) -> Geometry:
    """The geometry as the gradients of two neighboring cells in the middle of the map show it."""
    cell = network(image).shape[axis] // 2
    (first, last), (next_first, next_last) = (extent(network, image, axis, c) for c in (cell, cell + 1))
    assert 0 < first < next_last < image.shape[axis] - 1, "the image is too small to see all of the receptive field"
    stride = next_first - first
    return Geometry(stride, (first + last) / 2 - stride * cell, last - first + 1)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_geometry_is_what_an_impulse_moves(name, axis):
    backbone = build_backbone(name, "random")
    shape = [1, 3, 64, 64]  # a strip is enough to see one axis
    shape[axis] = backbone.geometry.receptive_field + 5 * backbone.geometry.stride
    let_everything_through(backbone)
    assert measure(backbone, torch.ones(shape), axis) == backbone.geometry


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
        geometry = build_backbone(name, "random").geometry
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
    geometry = geometry_of(network)
    side = 2 * geometry.receptive_field + 6 * geometry.stride
    assert measure(network, torch.ones(1, 1, side, side), axis=3) == geometry


def test_a_single_layer():
    assert geometry_of(nn.Conv2d(3, 8, 7, stride=2, padding=1)) == Geometry(2, 2.0, 7)
    assert geometry_of(nn.MaxPool2d(2)) == Geometry(2, 0.5, 2)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        *((nn.Conv2d(3, 3, (3, 5)), "not square"), (nn.Conv2d(3, 3, 3, stride=(1, 2)), "not square")),
        *((nn.Conv2d(3, 3, 3, padding="same"), "not square"), (nn.MaxPool2d((2, 3)), "not square")),
        (nn.Upsample(scale_factor=2), r"unknown geometry.*Upsample"),
    ],
)
def test_layers_must_be_square_and_known(layer, said):
    with pytest.raises(InputError, match=said):
        geometry_of(nn.Sequential(nn.Conv2d(3, 3, 3), layer))


def test_branches_must_line_up():
    fire = Fire(8, 4, 8, 8)
    fire.expand3x3 = nn.Conv2d(4, 8, 3)
    for branched in (fire, BasicBlock(8, 8, stride=2, downsample=nn.Conv2d(8, 8, 1))):
        with pytest.raises(InputError, match=rf"{type(branched).__name__}.*line up"):
            geometry_of(branched)
