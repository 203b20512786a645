import pytest
import torch
from factories import random_maps

from sppdet.errors import InputError
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
    for windows, index in ((WINDOWS + 99, IMAGE), (WINDOWS, IMAGE + 99)):
        with pytest.raises(InputError):
            compiled(values, windows, index)


@pytest.mark.slow
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
    wide = torch.empty(3, pool.out_features(5) + 6)
    for out in (memory[:2], wide):
        with pytest.raises(InputError, match="out"):
            pool(laid_out, WINDOWS, IMAGE, out=out)
    with pytest.raises(InputError, match="out"):
        pool(maps().requires_grad_(), WINDOWS, IMAGE, out=memory)


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("value", [0, torch.nan], ids=str)
def test_other_columns_of_the_memory_stay_as_they_are(mode, value):
    pool, values = SpatialPyramidPooling((3, 1), mode), maps()
    values[0, 1, 3, 3] = value  # NaN is pooled by another kernel
    expected = pool(values, WINDOWS, IMAGE)
    for memory in (torch.full((3, 61), 7.0), torch.full((61, 3), 7.0).T, torch.full((3, 61), 7.0).double()):
        assert pool(values, WINDOWS, IMAGE, out=memory, start=4) is memory
        torch.testing.assert_close(memory[:, 4:54].float(), expected, rtol=0, atol=0, equal_nan=True)
        assert (memory[:, :4] == 7).all()
        assert (memory[:, 54:] == 7).all()
