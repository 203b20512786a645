"""Pyramid pooling and RoI layers, forward and backward."""

import pytest
import torch
from benchmark.pooling import random_windows
from factories import random_maps
from torch import Tensor, nn

from sppdet.pooling import operator
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign, RoIPooling

PYRAMIDS = [(6, 3, 2, 1), (7, 3, 2, 1), (4, 2, 1), (1,), (16, 4, 1), (1, 2, 3, 6)]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
MODES = ("max", "average")

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_mode = pytest.mark.parametrize("mode", MODES)


def assert_pooled(found: Tensor, expected: Tensor, mode: str, dtype: torch.dtype | None = None) -> None:
    """Maxima are the same bit for bit, means up to the rounding in `dtype`, that of the result unless given."""
    assert found.dtype == expected.dtype
    tolerance = 0 if mode == "max" else 8 * torch.finfo(dtype or expected.dtype).eps
    torch.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@every_dtype
@every_mode
@pytest.mark.parametrize("levels", PYRAMIDS, ids=str)
def test_windows(device, levels, mode, dtype):
    pool, maps = SpatialPyramidPooling(levels, mode), random_maps(2, 16, 20, 27).to(dtype)
    windows, index = random_windows(60, 20, 27), torch.arange(60) % 2
    expected = pool(maps, windows, index)
    on_device = maps.to(device)
    assert_pooled(pool(on_device, windows, index), expected, mode)
    assert_pooled(pool(on_device, windows.to(device), index.to(device)), expected, mode)
    prepared = pool.prepare_maps(on_device.contiguous(memory_format=torch.channels_last))
    out = torch.empty(expected.shape, device=device)
    assert pool(prepared, windows, index, out) is out
    assert_pooled(out, expected.float(), mode, dtype)
    length = expected.shape[1]
    wide = torch.full((60, length + 7), 7.0, device=device)
    assert pool(prepared, windows, index, wide, start=3) is wide
    assert torch.equal(wide[:, 3 : 3 + length], out)
    assert (torch.cat([wide[:, :3], wide[:, 3 + length :]], dim=1) == 7).all()
    assert pool(on_device, windows[:0], index[:0]).shape == (0, length)


@every_mode
def test_more_channels_than_a_program_has(device, mode):
    maps, windows, pool = random_maps(1, 1100, 6, 7), random_windows(9, 6, 7), SpatialPyramidPooling((2, 1), mode)
    leaves = [maps.clone().to(place).requires_grad_() for place in ("cpu", device)]
    expected, found = (pool(leaf, windows) for leaf in leaves)
    assert_pooled(found.detach(), expected.detach(), mode)
    for pooled in (expected, found):
        pooled.sum().backward()
    torch.testing.assert_close(leaves[1].grad.cpu(), leaves[0].grad)


def test_compiled(device):
    maps, windows, pool = random_maps(1, 8, 13, 15).to(device), random_windows(30, 13, 15), SpatialPyramidPooling()
    compiled = torch.compile(pool, backend="aot_eager")
    leaf = maps.clone().requires_grad_()
    index = torch.zeros(30, dtype=torch.int64)
    assert_pooled(compiled(leaf, windows, index).detach(), pool(maps, windows).cpu(), "max")


@every_dtype
@every_mode
def test_whole_maps(device, mode, dtype):
    pool, maps = SpatialPyramidPooling(mode=mode), random_maps(3, 16, 13, 17).to(dtype)
    assert_pooled(pool(maps.to(device)), pool(maps), mode)
    sizes = [maps[0], maps[1, :, :5, :9], maps[2, :, :1, :2]]
    assert_pooled(pool([each.to(device) for each in sizes]), pool(sizes), mode)


def test_bins_of_every_length(device):
    """The largest and the smallest of rising values tell where each bin ends and starts."""
    rising = torch.arange(128.0).view(1, 1, 1, 128)
    windows = torch.tensor([[0, 0, length, 1] for length in range(1, 129)])
    pool = SpatialPyramidPooling((7, 6, 5, 4, 3, 2, 1))
    for maps in (rising, -rising):
        assert_pooled(pool(maps.to(device), windows), pool(maps, windows), "max")


@every_dtype
@every_mode
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_nan_and_infinities(device, mode, dtype, needs_gradient):
    maps = random_maps(1, 8, 9, 11).to(dtype)
    maps[0, 0, 2, 3], maps[0, 1], maps[0, 2, 4, 4] = torch.nan, -torch.inf, torch.inf
    windows, pool = random_windows(20, 9, 11), SpatialPyramidPooling(mode=mode)
    on_device = maps.to(device).requires_grad_(needs_gradient)
    assert_pooled(pool(on_device, windows).detach(), pool(maps, windows), mode)
    assert_pooled(pool(on_device).detach(), pool(maps), mode)


@every_dtype
@every_mode
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("levels", PYRAMIDS[:3], ids=str)
def test_gradients(device, levels, whole, mode, dtype):
    pool, maps = SpatialPyramidPooling(levels, mode), random_maps(2, 8, 13, 15).to(dtype)
    given = () if whole else (random_windows(30, 13, 15), torch.arange(30) % 2)
    gradients = []
    for place in ("cpu", device):
        leaf = maps.clone().to(place).requires_grad_()
        pooled = pool(leaf, *given)
        upstream = torch.randint(-9, 10, pooled.shape, generator=torch.Generator().manual_seed(1))  # sums are exact
        pooled.backward(upstream.to(pooled))
        gradients.append(leaf.grad.cpu())
    # Half precision: the gradients of levels are rounded before they are added up, on either device in its own order.
    exact = dtype == torch.float32 and mode == "max"
    tolerance = 0.0 if exact else 16 * torch.finfo(dtype).eps * float(gradients[0].abs().max())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=tolerance)


@every_dtype
@pytest.mark.parametrize(
    "layer", [RoIPooling(6, 1 / 16), RoIAlign(6, 1 / 16), RoIAlign(3, 1 / 16, samples=None)], ids=repr
)
def test_roi_layers(device, layer: nn.Module, dtype):
    maps, index = random_maps(2, 8, 20, 27).to(dtype), torch.arange(40) % 2
    boxes = 16 * random_windows(40, 20, 27) + random_maps(40, 4)
    results = []
    for place in ("cpu", device):
        leaf = maps.clone().to(place).requires_grad_()
        pooled = layer(leaf, boxes.to(place), index.to(place))
        pooled.float().square().sum().backward()
        results.append((pooled.detach().cpu(), leaf.grad.cpu()))
    for found, expected in zip(results[1], results[0], strict=True):
        tolerance = 32 * torch.finfo(dtype).eps
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))
    layer(maps.to(device), boxes, index)  # boxes may lie on the CPU, as proposals do


def test_without_triton_the_cpu_pools(device, monkeypatch):
    monkeypatch.setattr(operator, "has_kernels", lambda _: False)
    maps, windows, pool = random_maps(1, 8, 13, 15), random_windows(30, 13, 15), SpatialPyramidPooling()
    leaf = maps.clone().to(device).requires_grad_()
    pooled = pool(leaf, windows)
    pooled.sum().backward()
    assert pooled.device.type == leaf.grad.device.type == device
    assert_pooled(pooled.detach(), pool(maps, windows), "max")
    out = torch.empty(pooled.shape, device=device)
    assert_pooled(pool(leaf.detach(), windows, out=out), pool(maps, windows), "max")
