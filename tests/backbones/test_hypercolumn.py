"""Hypercolumns: the deeper map at the places of the first."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sppdet.backbones.geometry import geometry_of
from sppdet.backbones.hypercolumn import Hypercolumn


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
    place = geometry_of(deep)
    maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        joined = Hypercolumn(deep, place.stride, place.center)(maps)
        expected = interpolate(deep(maps), place.stride, place.center, size)
    assert torch.equal(joined[:, :3], maps)
    torch.testing.assert_close(joined[:, 3:].double(), expected, rtol=0, atol=1e-6)


def test_cells_stay_where_they_are_and_see_more():
    first, deep = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
    place = geometry_of(deep)
    joined = geometry_of(nn.Sequential(first, Hypercolumn(deep, place.stride, place.center)))
    alone = geometry_of(first)
    assert (joined.stride, joined.center) == (alone.stride, alone.center)
    # A pixel moves every cell that sees it, and no cell further away.
    network = nn.Sequential(first, Hypercolumn(deep, place.stride, place.center)).double()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        before = network(image)
        image[:, :, 32, 32] += 1
        moved = (network(image) - before).abs().amax(dim=1)[0] > 0
    rows = moved.any(dim=1).nonzero().flatten()
    centers = joined.stride * rows + joined.center
    assert (centers - 32).abs().max() <= joined.receptive_field / 2
    assert rows.tolist() == [15, 16, 17]  # cell 8 of the deeper map sees the pixel, and lies at cell 16
