"""The position of feature-map cells in the image, derived from the layers of the network."""

from dataclasses import dataclass, replace
from functools import reduce

from torch import nn

from sppdet.backbones.efficientnet_lite import InvertedResidual
from sppdet.backbones.hypercolumn import Hypercolumn
from sppdet.backbones.lrn import WithinChannelNorm
from sppdet.errors import InputError

Window = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
# Layers that read one position at a time do not change the geometry.
Pointwise = nn.ReLU | nn.ReLU6 | nn.BatchNorm2d | nn.LocalResponseNorm | nn.Dropout | nn.Identity


@dataclass(frozen=True)
class Geometry:
    """The position of a feature map's cells along either axis, in pixels of the network's input.

    stride: pixels between neighboring cells. center: 0-based pixel index of the middle of cell 0's receptive field.
    receptive_field: pixels that a cell sees. In continuous coordinates, in which pixel i covers [i, i + 1), cell j is
    centered at stride * j + center + 0.5.
    """

    stride: int
    center: float
    receptive_field: int


PIXELS = Geometry(stride=1, center=0.0, receptive_field=1)


def geometry_of(network: nn.Module) -> Geometry:
    """Return the geometry of the output of a layer, nn.Sequential, Fire module, residual block, or a nest of these.

    Raises InputError for an unknown layer, one that is not square, and branches that do not line up.

    >>> geometry_of(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2)))
    Geometry(stride=4, center=2.0, receptive_field=5)
    """
    return _follow(PIXELS, network)


def _follow(before: Geometry, module: nn.Module) -> Geometry:
    """Return the geometry after `module`, if its input has the geometry `before`."""
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.models.squeezenet import Fire

    match module:
        case nn.Sequential():
            return reduce(_follow, module, before)
        case nn.Conv2d() | nn.MaxPool2d() | nn.AvgPool2d():
            return _slide(before, module)
        case nn.ZeroPad2d():
            left, _, top, _ = module.padding
            if left != top:
                raise InputError("padding is not square", field="padding", expected="one number", got=module.padding)
            return replace(before, center=before.center - before.stride * left)
        case InvertedResidual():
            branch = reduce(_follow, module.children(), before)
            return _join(module, branch, before) if module.shortcut else branch
        case Hypercolumn():
            deep = _follow(before, module.deep)
            return replace(before, receptive_field=deep.receptive_field + deep.stride)
        case WithinChannelNorm():
            return _slide(before, module.neighbors)
        case Fire():
            squeezed = _follow(before, module.squeeze)
            return _join(module, _follow(squeezed, module.expand1x1), _follow(squeezed, module.expand3x3))
        case BasicBlock() | Bottleneck():
            residual = (layer for name, layer in module.named_children() if name != "downsample")
            return _join(module, reduce(_follow, residual, before), _follow(before, module.downsample or nn.Identity()))
    if isinstance(module, Pointwise):
        return before
    raise InputError("layer of unknown geometry", field="network", got=type(module).__name__)


def _slide(before: Geometry, layer: Window) -> Geometry:
    """Return the geometry after a sliding window. ceil_mode only adds cells at the far end."""
    kernel, stride, padding = (_side(layer, name) for name in ("kernel_size", "stride", "padding"))
    dilation = 1 if isinstance(layer, nn.AvgPool2d) else _side(layer, "dilation")
    reach = dilation * (kernel - 1)  # from the window's first input cell to its last
    return Geometry(
        stride=before.stride * stride,
        center=before.center + before.stride * (reach / 2 - padding),
        receptive_field=before.receptive_field + before.stride * reach,
    )


def _side(layer: Window, name: str) -> int:
    """Return a layer's kernel size, stride, padding or dilation, which must be the same along both axes."""
    value = getattr(layer, name)
    sides = {value} if isinstance(value, int | str) else set(value)
    side = sides.pop()
    if sides or not isinstance(side, int):
        raise InputError(f"{type(layer).__name__} is not square", field=name, expected="one number", got=value)
    return side


def _join(module: nn.Module, *branches: Geometry) -> Geometry:
    """Return the geometry of parallel branches, added or concatenated: their cells must coincide; the widest counts."""
    if len({(branch.stride, branch.center) for branch in branches}) > 1:
        raise InputError("branches do not line up", field=type(module).__name__, got=branches)
    return max(branches, key=lambda branch: branch.receptive_field)
