"""The geometry of a network, measured from outside: the pixels that move a cell of its maps."""

import torch
from torch import Tensor, fx, nn

from sppdet.backbones.backbone import as_maps
from sppdet.backbones.geometry import POINTWISE_LAYERS, Geometry

MEANS = ("mean", "adaptive_avg_pool2d")


def let_everything_through(network: nn.Module) -> None:
    """Change a network so that every pixel of a receptive field moves its cell.

    Convolutions become positive, maxima averages. There are no activations, no normalization, and no means over the
    whole map, through which all pixels would move all cells.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                if getattr(node.target, "__name__", node.target) in MEANS:
                    node.op, node.target = "call_function", one_number_a_channel
            module.recompile()
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool)
            elif isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(module, name, OneNumber())
            elif isinstance(child, POINTWISE_LAYERS) and not isinstance(child, nn.Linear):
                setattr(module, name, nn.Identity())


def one_number_a_channel(maps: Tensor, *_options: object, **_keywords: object) -> Tensor:
    return maps.new_ones(*maps.shape[:2], 1, 1)


class OneNumber(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return one_number_a_channel(maps)


def extent(network: nn.Module, image: Tensor, axis: int, cell: int, number: int = 0) -> tuple[int, int]:
    """First and last pixel along `axis` of an image that move the cells at `cell` of a map."""
    image = image.clone().requires_grad_()
    (moved,) = torch.autograd.grad(as_maps(network(image))[number].select(axis, cell).sum(), image)
    pixels = torch.nonzero(moved.transpose(axis, -1).flatten(0, -2).abs().sum(dim=0)).flatten()
    return int(pixels[0]), int(pixels[-1])


def measure(network: nn.Module, image: Tensor, axis: int, number: int = 0) -> Geometry:
    """The geometry of a map as the gradients of two neighboring cells in its middle show it."""
    cell = as_maps(network(image))[number].shape[axis] // 2
    (first, last), (next_first, next_last) = (extent(network, image, axis, c, number) for c in (cell, cell + 1))
    assert 0 < first < next_last < image.shape[axis] - 1, "the image is too small to see all of the receptive field"
    stride = next_first - first
    return Geometry(stride, (first + last) / 2 - stride * cell, last - first + 1)
