import pytest
import torch
from factories import random_maps, random_windows

from sppdet.errors import InputError
from sppdet.pooling import pyramid
from sppdet.pooling.kernels import SHARE
from sppdet.pooling.operator import pool_windows
from sppdet.pooling.pyramid import SpatialPyramidPooling

WINDOWS = torch.tensor([[0, 0, 9, 7], [2, 3, 5, 4], [8, 6, 9, 7]])
IMAGE = torch.tensor([0, 1, 0])


def maps(channels: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return random_maps(2, channels, 7, 9).to(dtype)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own check reads it
@pytest.mark.parametrize("mode", ["max", "average"])
def test_torch_sees_an_operator(mode):
    arguments = (maps().requires_grad_(), WINDOWS, IMAGE, [6, 3, 1], mode)
    torch.library.opcheck(pool_windows, arguments)


@pytest.mark.parametrize("mode", ["max", "average"])
def test_compiles_in_one_graph(mode):
    pool = SpatialPyramidPooling((3, 1), mode)
    values = maps().requires_grad_()
    compiled = torch.compile(pool, backend="aot_eager", fullgraph=True)
    found, expected = compiled(values, WINDOWS, IMAGE), pool(values, WINDOWS, IMAGE)
    assert torch.equal(found, expected)
    weights = random_maps(*expected.shape, seed=1)
    gradients = [torch.autograd.grad((pooled * weights).sum(), values)[0] for pooled in (found, expected)]
    assert torch.equal(*gradients)
    with torch.no_grad():
        assert torch.equal(compiled(values, WINDOWS, IMAGE), expected)


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("dynamic", [None, True])
def test_whole_maps_compile_in_one_graph(mode, dynamic):
    pool = SpatialPyramidPooling((4, 2, 1), mode)
    torch.compiler.reset()
    compiled = torch.compile(pool, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for size in ((2, 3, 7, 9), (3, 3, 8, 5), (1, 3, 13, 11)):
        values = random_maps(*size).requires_grad_()
        pooled = [layer(values) for layer in (compiled, pool)]
        assert torch.equal(*pooled)
        assert torch.equal(*(torch.autograd.grad(each.square().sum(), values)[0] for each in pooled))
        half = values.detach().bfloat16()
        assert torch.equal(compiled([half[0], half[0, :, :4]]), pool([half[0], half[0, :, :4]]))


@pytest.mark.parametrize("channels", [5, SHARE, 2 * SHARE + 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_with_and_without_gradients_are_the_same(channels, dtype):
    pool = SpatialPyramidPooling((6, 3, 2, 1))
    values = maps(channels, dtype)
    plain = pool(values, WINDOWS, IMAGE)
    assert plain.dtype == dtype
    assert torch.equal(plain, pool(values.clone().requires_grad_(), WINDOWS, IMAGE))


def test_memory_is_used_again():
    pool = SpatialPyramidPooling((2, 1))
    laid_out = pool.prepare_maps(maps())
    memory = torch.empty(3, pool.out_features(5))
    for windows in (WINDOWS, WINDOWS[[1, 1, 0]]):
        found = pool(laid_out, windows, IMAGE, out=memory)
        assert found.data_ptr() == memory.data_ptr()
        assert torch.equal(found, pool(maps(), windows, IMAGE))
    strided = torch.empty(pool.out_features(5), 3).T
    assert torch.equal(pool(laid_out, WINDOWS, IMAGE, out=strided), pool(maps(), WINDOWS, IMAGE))
    with pytest.raises(InputError, match="out"):
        pool(laid_out, WINDOWS, IMAGE, out=memory[:2])
    with pytest.raises(InputError, match="out"):
        pool(maps().requires_grad_(), WINDOWS, IMAGE, out=memory)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mode", ["max", "average"])
def test_the_operators_of_other_devices_pool_the_same(mode, dtype, device):
    maps, windows, index = random_maps(2, 4, 40, 9).to(dtype), random_windows(25, 40, 9), torch.arange(25) % 2
    on_device = maps.to(device), windows.to(device), index.to(device)
    for levels in ((6, 3, 2, 1), (4, 3, 2, 1), (4, 2, 1), (7, 3, 2, 1), (5,), (16, 4, 1), (1, 2, 3, 6), (6, 6, 3)):
        pooled = SpatialPyramidPooling(levels, mode)(maps, windows, index)
        other = pyramid._pool_on_device(*on_device, levels, mode).cpu()
        assert other.dtype == dtype
        tolerance = 0 if mode == "max" else 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(other, pooled, rtol=tolerance, atol=tolerance)
        whole = SpatialPyramidPooling(levels, mode)(on_device[0]).cpu()  # by torch's own operators but on the CPU
        expected = SpatialPyramidPooling(levels, mode)(maps)
        torch.testing.assert_close(whole, expected, rtol=tolerance, atol=tolerance)
    nothing = pyramid._pool_on_device(on_device[0], on_device[1][:0], on_device[2][:0], (6, 3, 2, 1), mode)
    assert nothing.shape == (0, 200)


@pytest.mark.parametrize("length", range(1, 129, 3))
def test_roi_pool_has_our_bins(length):
    """Up to 6 bins; the largest and the smallest of rising values tell where each bin ends and starts."""
    rising = torch.arange(float(length)).view(1, 1, 1, length)
    window, index = torch.tensor([[0, 0, length, 1]]), torch.zeros(1, dtype=torch.int64)
    for n in range(1, pyramid.ROI_POOL_BINS + 1):
        last = pyramid._roi_pool(rising, window, index, n)[0, 0, :, 0]
        first = -pyramid._roi_pool(-rising, window, index, n)[0, 0, :, 0]
        assert first.tolist() == [i * length // n for i in range(n)]
        assert last.tolist() == [-(-(i + 1) * length // n) - 1 for i in range(n)]
