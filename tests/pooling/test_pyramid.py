import numba
import pytest
import torch
from factories import adaptive_bins, examples, random_maps, random_windows
from hypothesis import given, strategies as st
from torch import Tensor

from sppdet.errors import ConfigError, InputError
from sppdet.pooling.pyramid import SpatialPyramidPooling

PYRAMIDS = [(6, 3, 2, 1), (4, 3, 2, 1), (4, 2, 1), (7, 3, 2, 1), (5,), (16, 4, 1), (1, 2, 3, 6), (6, 6, 3)]
MODES = ("max", "average")
ROUNDING = {"max": 0, "average": 1e-6}


def pool_by_torch(maps: Tensor, windows: Tensor, index: Tensor, levels: tuple[int, ...], mode: str = "max") -> Tensor:
    """The oracle: adaptive pooling of every slice at every level, bins before channels."""
    rows = [
        adaptive_bins(maps[b : b + 1, :, y1:y2, x1:x2], levels, mode)
        for (x1, y1, x2, y2), b in zip(windows.tolist(), index.tolist(), strict=True)
    ]
    return torch.cat(rows)  # (N, D)


def tied_maps(*shape: int, seed: int = 0) -> Tensor:
    """Whole numbers -2..2: every window has ties."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def assert_bitwise_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


SIDES = st.integers(1, 20)


@examples(200)
@given(
    *(SIDES, SIDES, st.sampled_from(PYRAMIDS), st.integers(0, 999), st.booleans(), st.booleans()),
    st.sampled_from(MODES),
)
def test_any_size_of_map_and_window(height, width, levels, seed, ties, needs_gradient, mode):
    maps = (tied_maps if ties else random_maps)(2, 3, height, width, seed=seed)
    windows, index = random_windows(4, height, width, seed), torch.tensor([0, 1, 1, 0])
    expected = pool_by_torch(maps, windows, index, levels, mode)
    pooled = SpatialPyramidPooling(levels, mode)(maps.requires_grad_(needs_gradient), windows, index)
    torch.testing.assert_close(pooled.detach(), expected, rtol=0, atol=ROUNDING[mode])


@pytest.mark.parametrize("mode", MODES)
def test_whole_maps_of_every_size_to_40_at_every_level_to_7(mode):
    pool = SpatialPyramidPooling((1, 2, 3, 4, 5, 6, 7), mode)
    for height in range(1, 41):
        for width in range(1, 41):
            maps = random_maps(2, 2, height, width, seed=height)
            expected = adaptive_bins(maps, pool.levels, mode)
            torch.testing.assert_close(pool(maps), expected, rtol=0, atol=ROUNDING[mode])


@pytest.mark.parametrize("mode", MODES)
def test_a_list_of_mixed_sizes_with_gradients(mode):
    maps = [random_maps(3, *size).requires_grad_() for size in ((13, 13), (4, 31), (1, 1), (13, 13))]
    pool = SpatialPyramidPooling((4, 2, 1), mode)
    pooled = pool(maps)
    assert pooled.shape == (4, pool.out_features(3))
    weights = random_maps(*pooled.shape)
    (pooled * weights).sum().backward()
    for one, row, weight in zip(maps, pooled, weights, strict=True):
        assert torch.equal(row, pool(one[None])[0])
        (expected,) = torch.autograd.grad((pool(one[None])[0] * weight).sum(), one)
        assert_bitwise_equal(one.grad, expected)
    assert torch.equal(pool(tuple(one.detach() for one in maps)), pooled)


@pytest.mark.parametrize(
    ("maps", "named"),
    [
        ([], "maps: .*got none"),
        ([torch.zeros(2, 4, 4), torch.zeros(3, 4, 4)], r"maps\[1\]: .*expected \(2, h, w\)"),
        ([torch.zeros(2, 4, 4), torch.zeros(2, 4, 0)], r"maps\[1\]: .*got \(2, 4, 0\)"),
        ([torch.zeros(1, 2, 4, 4)], r"maps\[0\]: .*expected \(C, h, w\)"),
    ],
    ids=["none", "channels", "no cells", "rank"],
)
def test_lists_that_cannot_be_pooled(maps, named):
    with pytest.raises(InputError, match=named):
        SpatialPyramidPooling()(maps)
    with pytest.raises(InputError, match="of a list or an exported network are pooled whole"):
        SpatialPyramidPooling()([torch.zeros(2, 4, 4)], torch.tensor([[0, 0, 1, 1]]))


@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("levels", PYRAMIDS, ids=str)
@pytest.mark.parametrize("special", [False, True], ids=["finite", "infinite and nan"])
def test_windows_equal_adaptive_max_pooling_bit_for_bit(levels, needs_gradient, special):
    maps = random_maps(2, 5, 17, 23)
    if special:
        maps[:, :4] = -maps[:, :4].abs() - 1
        maps[:, 0] = -torch.inf
        maps[:, 1, 3, 5] = torch.inf
        maps[:, 2, 7, 7] = torch.nan
        maps[:, 3, 0, 0], maps[:, 3, 5, 5] = torch.nan, torch.inf
    windows = torch.cat([random_windows(60, 17, 23), torch.tensor([[0, 0, 23, 17], [22, 16, 23, 17]])])
    index = torch.arange(len(windows)) % 2
    expected = pool_by_torch(maps, windows, index, levels)
    pooled = SpatialPyramidPooling(levels)(maps.requires_grad_(needs_gradient), windows, index)
    assert_bitwise_equal(pooled.detach(), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_types_and_layouts(dtype, mode):
    maps = random_maps(2, 8, 9, 11).to(dtype)
    windows, index = random_windows(20, 9, 11), torch.arange(20) % 2
    pool = SpatialPyramidPooling(mode=mode)
    layouts = [
        maps.contiguous(),
        maps.contiguous(memory_format=torch.channels_last),
        maps.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([maps, maps], dim=1)[:, :8],
    ]
    expected = pool_by_torch(maps.double(), windows, index, (6, 3, 2, 1), mode)
    for layout in layouts:
        pooled = pool(layout, windows, index)
        assert pooled.dtype == dtype
        assert_bitwise_equal(pooled, pool(maps, windows, index))
        tolerance = {"max": (0, 0), "average": (4 * torch.finfo(dtype).eps, 1e-6)}[mode]
        torch.testing.assert_close(pooled.double(), expected, rtol=tolerance[0], atol=tolerance[1])


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode):
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randperm(2 * 2 * 7 * 9, generator=generator).double() / 10).view(2, 2, 7, 9)  # distinct values
    windows = torch.tensor([[0, 0, 9, 7], [2, 1, 7, 6], [3, 3, 4, 4], [5, 0, 9, 2]])
    index = torch.tensor([0, 1, 1, 0])
    for levels in [(6, 3, 2, 1), (4, 3, 1), (2, 2)]:
        pool = SpatialPyramidPooling(levels, mode)
        assert torch.autograd.gradcheck(lambda m, pool=pool: pool(m, windows, index), maps.requires_grad_())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("levels", PYRAMIDS, ids=str)
@pytest.mark.parametrize("make", [tied_maps, random_maps])
def test_gradients_equal_torchs_ties_too(make, levels, mode):
    """At a tie the first cell of the bin takes all, at nested levels as well."""
    maps = make(2, 4, 11, 13)
    windows, index = random_windows(30, 11, 13), torch.arange(30) % 2
    gradients = []
    for pool in (
        SpatialPyramidPooling(levels, mode),
        lambda maps, windows, index: pool_by_torch(maps, windows, index, levels, mode),
    ):
        leaf = maps.clone().requires_grad_()
        pooled = pool(leaf, windows, index)
        # Whole-number gradients, so that sums are exact whatever their order.
        upstream = torch.randint(-9, 10, pooled.shape, generator=torch.Generator().manual_seed(1)).float()
        pooled.backward(upstream)
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0 if mode == "max" else 1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_threads_change_nothing(mode, monkeypatch):
    windows, index = random_windows(300, 20, 25), torch.arange(300) % 2
    results = []
    for threads, forked in ((1, True), (numba.config.NUMBA_NUM_THREADS, False), (1, False)):  # 1: as all tests
        numba.set_num_threads(threads)
        monkeypatch.setattr("sppdet.runtime.compiled.is_forked", lambda forked=forked: forked)
        maps = random_maps(2, 32, 20, 25).requires_grad_()
        pooled = SpatialPyramidPooling(mode=mode)(maps, windows, index)
        pooled.backward(torch.cos(pooled.detach()))
        results.append((pooled.detach(), maps.grad))
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


def test_gradients_of_half_precision():
    half = tied_maps(1, 3, 8, 8).half().requires_grad_()
    exact = half.detach().float().requires_grad_()
    for maps in (half, exact):
        SpatialPyramidPooling((2, 1))(maps).sum().backward()
    assert half.grad.dtype == torch.float16
    assert torch.equal(half.grad.float(), exact.grad)


@pytest.mark.parametrize("mode", MODES)
def test_no_windows(mode):
    maps = torch.ones(1, 5, 4, 4, requires_grad=True)
    pooled = SpatialPyramidPooling(mode=mode)(maps, torch.zeros(0, 4, dtype=torch.int64))
    assert pooled.shape == (0, 5 * 50)
    pooled.sum().backward()
    assert not maps.grad.any()


@pytest.mark.parametrize(
    ("windows", "index"),
    [
        *(([[0, 0, 1, 1], off], None) for off in ([-1, 0, 3, 3], [0, 0, 6, 3], [0, 0, 3, 5])),
        *(([[0, 0, 1, 1], empty], None) for empty in ([2, 0, 2, 3], [3, 0, 2, 3], [0, 3, 1, 3])),
        *((other, None) for other in ([[0.0, 0, 1, 1]], [0, 0, 1, 1], [[0, 0, 1]])),
        *(([[0, 0, 1, 1], [0, 0, 2, 2]], index) for index in ([0, 1], [-1, 0], [0])),
    ],
    ids=str,
)
def test_windows_that_cannot_be_pooled_are_refused(windows, index):
    index = None if index is None else torch.tensor(index)
    with pytest.raises(InputError, match="windows" if index is None else "index"):
        SpatialPyramidPooling()(torch.zeros(1, 2, 4, 5), torch.tensor(windows), index)


def test_windows_of_several_maps_say_of_which():
    with pytest.raises(InputError, match=r"index: not given .*2 maps"):
        SpatialPyramidPooling((2,))(torch.rand(2, 3, 5, 7), torch.tensor([[0, 0, 2, 2]]))
    with pytest.raises(InputError, match="index: of no windows"):
        SpatialPyramidPooling((2,))(torch.rand(2, 3, 5, 7), index=torch.tensor([0]))


@pytest.mark.parametrize(
    "pyramid", [*({"levels": levels} for levels in ((), (0,), (3, -1), (2.0,), ("2",))), {"mode": "median"}], ids=str
)
def test_what_is_no_pyramid_is_refused(pyramid):
    with pytest.raises(ConfigError, match="max or average" if "mode" in pyramid else "levels"):
        SpatialPyramidPooling(**pyramid)


def test_bins_come_level_by_level_and_cell_by_cell_and_the_paper_pyramids_have_their_lengths():
    assert SpatialPyramidPooling().out_features(256) == 12_800  # 50 bins
    assert SpatialPyramidPooling((4, 3, 2, 1)).out_features(256) == 30 * 256
    assert repr(SpatialPyramidPooling((4, 2, 1))) == "SpatialPyramidPooling(levels=(4, 2, 1), mode=max)"
    maps = torch.stack([torch.arange(4.0).view(2, 2), 10 + torch.arange(4.0).view(2, 2)])[None]  # C = 2
    assert SpatialPyramidPooling((1, 2))(maps).tolist() == [[3, 13, 0, 10, 1, 11, 2, 12, 3, 13]]
