"""Hypercolumns: the deeper map at the places of the first."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from contracts import assert_same, raised
from factories import TINY, random_boxes, random_detector, random_image
from impulses import let_everything_through
from sppdet.backbones.hypercolumn import Hypercolumn
from torch import Tensor, nn

from sppdet.backbones.efficientnet_lite import WithDeeperMap
from sppdet.backbones.geometry import geometries_of
from sppdet.backbones.libraries import whole_network
from sppdet.backbones.zoo import build_backbone
from sppdet.config.network import BackboneConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError

# The last map of each network of a library.
LAST = {
    **{"mobilenet_v3_small": "features.12", "efficientnet_b0": "features.8", "convnext_tiny": "features.7"},
    **{"regnet_y_400mf": "trunk_output.block4", "resnet18": "layer4", "timm/convnext_atto": "stages.3"},
}


def interpolate(deep: Tensor, stride: int, center: float, size: tuple[int, int]) -> Tensor:
    """Interpolate maps (B, C, h, w) with numpy, line by line."""
    maps = deep.double().numpy()
    for axis, cells in zip((2, 3), size, strict=True):
        known = stride * np.arange(maps.shape[axis]) + center
        maps = np.apply_along_axis(lambda line, at=known, n=cells: np.interp(np.arange(n), at, line), axis, maps)
    return torch.from_numpy(maps)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (2, 0), (5, 2), (5, 1)])
@pytest.mark.parametrize("size", [(9, 12), (8, 5)])
def test_deeper_maps_are_interpolated_at_their_places(kernel, padding, size):
    deep = nn.Conv2d(3, 4, kernel, stride=2, padding=padding)
    place = geometries_of(deep)[0]
    maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        joined = Hypercolumn(place.stride, place.center)(maps, deep(maps))
        expected = interpolate(deep(maps), place.stride, place.center, size)
    assert torch.equal(joined[:, :3], maps)
    torch.testing.assert_close(joined[:, 3:].double(), expected, rtol=0, atol=1e-6)


def test_cells_stay_where_they_are_and_see_more():
    first, deep = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
    place = geometries_of(deep)[0]
    layers = nn.Sequential(first, WithDeeperMap(deep, Hypercolumn(place.stride, place.center)))
    joined = geometries_of(layers)[0]
    alone = geometries_of(first)[0]
    assert (joined.stride, joined.center) == (alone.stride, alone.center)
    # A pixel moves every cell that sees it, and no cell further away.
    network = layers.double()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        before = network(image)
        image[:, :, 32, 32] += 1
        moved = (network(image) - before).abs().amax(dim=1)[0] > 0
    rows = moved.any(dim=1).nonzero().flatten()
    centers = joined.stride * rows + joined.center
    assert (centers - 32).abs().max() <= joined.receptive_field / 2
    assert rows.tolist() == [15, 16, 17]  # cell 8 of the deeper map sees the pixel, and lies at cell 16


@pytest.mark.parametrize("name", LAST)
def test_hypercolumns_hold_both_maps_of_the_whole_network(name, tmp_path):
    network = whole_network(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    seen: list[Tensor] = []
    layer = network.get_submodule(LAST[name])
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    image = torch.rand(1, 3, 96, 130)
    with torch.no_grad():
        network(image)
    backbone, first = (build_backbone(name, tmp_path / "weights.pth", tap=tap) for tap in ("hypercolumn", "expansion"))
    expected = backbone.layers.hypercolumn(first(image), seen[0])
    assert expected.shape[1] == backbone.channels[0]
    torch.testing.assert_close(backbone(image)[0], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", LAST)
def test_deeper_maps_lie_where_the_first_do(name):
    """Averaging layers move no centroid, and interpolation keeps it: that of what a cell sees is the cell's center."""
    backbone = build_backbone(name, "random", tap="hypercolumn")
    first = build_backbone(name, "random")
    geometry = backbone.geometries[0]
    assert (geometry.stride, geometry.center) == (first.geometries[0].stride, first.geometries[0].center)
    let_everything_through(backbone.double())
    image = torch.ones(1, 3, 32, geometry.receptive_field + 160, dtype=torch.float64, requires_grad=True)
    deep = backbone(image)[0][:, first.channels :]
    widths = []
    for cell in range(deep.shape[3] // 2, deep.shape[3] // 2 + 2):
        (moved,) = torch.autograd.grad(deep[..., cell].sum(), image, retain_graph=True)
        weights = moved.sum(dim=(0, 1, 2))
        centroid = float((weights * torch.arange(len(weights))).sum() / weights.sum())
        assert centroid == pytest.approx(geometry.stride * cell + geometry.center, abs=1e-6)
        pixels = weights.nonzero().flatten()
        widths.append(int(pixels[-1] - pixels[0]) + 1)
    assert max(widths) == geometry.receptive_field


def test_a_detector_with_hypercolumns_of_a_library_comes_back(tmp_path):
    detector = random_detector(replace(TINY, backbone=BackboneConfig("mobilenet_v3_small", "random", "hypercolumn")))
    detector.save(tmp_path / "detector.safetensors")
    image, boxes = random_image(60, 80), random_boxes()
    assert_same(Detector.load(tmp_path).detect(image, boxes), detector.detect(image, boxes))


@pytest.mark.parametrize(
    ("name", "tap", "said"),
    [
        ("zf5", "hypercolumn", "not a map of zf5 (expected expansion, got hypercolumn)"),
        ("resnet18", "projection", "not a map of resnet18 (expected expansion or hypercolumn, got projection)"),
        ("squeezenet1_1", "hypercolumn", "no map of a stride over 16 (expected expansion, got hypercolumn)"),
    ],
)
def test_a_map_that_a_network_does_not_have(name, tap, said):
    error = raised(ConfigError, partial(build_backbone, tap=tap), name, "random")
    assert f"backbone.tap: {said}" in str(error)
