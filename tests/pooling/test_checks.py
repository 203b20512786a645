"""All layers check what they are given in the same way: one InputError that names the argument."""

import numpy as np
import pytest
import torch

from sppdet.errors import InputError
from sppdet.pooling.forms import GeneralPooling, PaddedPooling, WindowPooling
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign, RoIPooling

MAPS, BOX, WINDOW = torch.rand(1, 2, 6, 6), torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([[0, 0, 3, 3]])
LAYERS = [
    (SpatialPyramidPooling((2,)), "windows", WINDOW),
    (SpatialPyramidPooling((2,), "average"), "windows", WINDOW),
    (RoIPooling(2), "boxes", BOX),
    (RoIAlign(2), "boxes", BOX),
]
WHOLE = [SpatialPyramidPooling((2,)), WindowPooling((2,)), PaddedPooling((2,)), GeneralPooling(2, 3, 3)]
NO_MAPS = [MAPS.long(), MAPS > 0, MAPS * 1j, MAPS[0], MAPS[:, :, :0], MAPS.numpy(), None, {}, "maps"]
NO_LISTS = [
    [],
    [MAPS],
    [MAPS[0], MAPS[0].double()],
    [MAPS[0], MAPS[0, :1]],
    [MAPS[0].numpy()],
    [MAPS[0].long()],
    [None],
]


def kind(value: object) -> str:
    return f"{type(value).__name__} {getattr(value, 'dtype', '')} {tuple(getattr(value, 'shape', ()))}"


@pytest.mark.parametrize(("pool", "name", "region"), LAYERS, ids=str)
def test_regions_and_index(pool, name, region):
    expected = pool(MAPS, region)
    assert torch.equal(pool(MAPS, region, torch.tensor([0])), expected)
    wrong = [region.tolist(), region.numpy(), region[0], torch.zeros(1, 5), region > 0, region * 1j, "box"]
    for one in wrong:
        with pytest.raises(InputError, match=f"^{name}: (not a tensor|wrong type or shape)"):
            pool(MAPS, one)
    indices = [[0], np.array([0]), torch.tensor([0.5]), torch.tensor([False]), torch.tensor(0), torch.tensor([0, 0])]
    for index in indices:
        with pytest.raises(InputError, match=r"^index: (not a tensor|wrong type or shape) .*int64 \(1\)"):
            pool(MAPS, region, index)
    for index in (torch.tensor([1]), torch.tensor([-1])):
        with pytest.raises(InputError, match=r"^index: out of range .*0\.\.0"):
            pool(MAPS, region, index)
    with pytest.raises(InputError, match=r"^index: not given"):
        pool(torch.cat([MAPS, MAPS]), region)


@pytest.mark.parametrize(("pool", "name", "region"), LAYERS, ids=str)
@pytest.mark.parametrize("out", [[0], np.zeros((1, 8)), torch.zeros(8), torch.zeros(1, 9), torch.zeros(1, 7)], ids=kind)
def test_out(pool, name, region, out):
    with pytest.raises(InputError, match=r"^out: wrong shape .*\(1, 8\)"):
        pool(MAPS, region, out=out)
    right = torch.full((1, 8), torch.nan)
    assert torch.equal(pool(MAPS, region, out=right), pool(MAPS, region)), name
    assert right.isfinite().all()


@pytest.mark.parametrize(("pool", "name", "region"), LAYERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_columns_of_out(pool, name, region, dtype):
    expected = pool(MAPS, region).to(dtype)
    for start in (0, 2, 3):
        wide = torch.full((1, 11), 7, dtype=dtype)
        assert pool(MAPS, region, out=wide, start=start) is wide, name
        assert torch.equal(wide[:, start : start + 8], expected)
        assert (wide[:, :start] == 7).all()
        assert (wide[:, start + 8 :] == 7).all()
    for start in (-1, 4):
        with pytest.raises(InputError, match=rf"^out: wrong shape .*\(1, {start + 8} or more\).*got \(1, 11\)"):
            pool(MAPS, region, out=torch.zeros(1, 11), start=start)
    with pytest.raises(InputError, match=r"^out: wrong shape .*\(2, 11\)"):
        pool(MAPS, region, out=torch.zeros(2, 11), start=0)


@pytest.mark.parametrize("maps", NO_MAPS, ids=kind)
def test_maps(maps):
    for pool, _, region in LAYERS:
        with pytest.raises(InputError, match=r"^maps"):
            pool(maps, region)
    for layer in WHOLE:
        with pytest.raises(InputError, match=r"^maps"):
            layer(maps)


@pytest.mark.parametrize("maps", NO_LISTS, ids=lambda maps: " ".join(map(kind, maps)))
@pytest.mark.parametrize("pool", WHOLE, ids=repr)
def test_lists_of_maps(pool, maps):
    with pytest.raises(InputError, match=r"^maps"):
        pool(maps)
