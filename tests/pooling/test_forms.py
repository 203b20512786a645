import math

import pytest
import torch
import torch.nn.functional as F
from factories import examples, random_maps
from hypothesis import given, strategies as st
from torch import Tensor

from sppdet.errors import ConfigError, InputError
from sppdet.pooling.forms import GeneralPooling, PaddedPooling, SlidingPooling, WindowPooling
from sppdet.pooling.pyramid import SpatialPyramidPooling

SIZES, LEVELS = range(1, 41), range(1, 8)

# Where torch refuses the padded form, and what the window form gives in place of n bins.
PADDING_REFUSED = {6: [*range(1, 6), 7, 8, 9, 13, 14, 15, 19, 25], 4: [1, 2, 3, 5, 9], 3: [1, 2], 2: [1], 1: []}
WRONG_COUNTS = {(4, 6): 5, (4, 7): 6, (4, 11): 5, (6, 11): 10, (6, 10): 9}


def windows_by_hand(form: str, cells: int, n: int) -> tuple[int, int, int]:
    """Kernel, stride and padding as the literature writes them."""
    kernel = math.ceil(cells / n)
    return (kernel, cells // n, 0) if form == "window" else (kernel, kernel, math.floor((kernel * n - cells + 1) / 2))


def by_torch(maps: Tensor, n: int, form: str, ceil_mode: bool = False) -> Tensor | None:
    """The oracle (B, n * n * C): torch's own layer with these windows; None where torch refuses or gives other bins."""
    kernel, stride, padding = zip(*(windows_by_hand(form, cells, n) for cells in maps.shape[2:]), strict=True)
    if min(stride) == 0:  # torch takes a stride of 0 for none given, or refuses it
        return None
    try:
        pooled = F.max_pool2d(maps, kernel, stride, padding, ceil_mode=ceil_mode)
    except RuntimeError:
        return None
    return pooled.permute(0, 2, 3, 1).flatten(1) if pooled.shape[2:] == (n, n) else None


def readers_by_torch(size: tuple[int, int], windows: list[tuple[int, int, int]], ceil_mode: bool = False) -> Tensor:
    """(h, w): the gradient of the sum of all windows' sums is how many windows a cell is in."""
    maps = torch.ones(1, 1, *size, requires_grad=True)
    kernel, stride, padding = zip(*windows, strict=True)
    F.avg_pool2d(maps, kernel, stride, padding, ceil_mode, divisor_override=1).sum().backward()
    return maps.grad[0, 0].long()


FORMS = {"window": WindowPooling, "padded": PaddedPooling}


@pytest.mark.parametrize("n", LEVELS)
@pytest.mark.parametrize(("form", "ceil_mode"), [("window", False), ("window", True), ("padded", False)])
def test_every_size_and_level_is_torchs_or_refused(form, ceil_mode, n):
    pool = WindowPooling((n,), ceil_mode=True) if ceil_mode else FORMS[form]((n,))
    refused = []
    for cells in SIZES:
        for size in ((cells, cells), (cells, 40), (21 * n, cells)):  # n divides 840 and 21 n
            maps = random_maps(2, 3, *size)
            expected = by_torch(maps, n, form, ceil_mode)
            if expected is not None:
                assert torch.equal(pool(maps), expected)
                continue
            refused.append(size)
            with pytest.raises(ValueError, match=f"no level {n} on {size[0]}x{size[1]} cells: along") as error:
                pool(maps)
            assert isinstance(error.value, InputError)
            assert pool.why_not(size, n) in str(error.value)
    assert len(refused) < len(SIZES) * 3
    assert bool(refused) == (n > 1)


@pytest.mark.parametrize("n", PADDING_REFUSED)
def test_where_padding_is_refused(n):
    pool = PaddedPooling((n,))
    assert [cells for cells in SIZES if pool.why_not((cells, cells), n)] == PADDING_REFUSED[n]
    for cells in PADDING_REFUSED[n]:
        with pytest.raises(ValueError, match="is more than half the window"):
            pool(random_maps(1, 1, cells, cells))


def test_wrong_counts_are_named():
    for (n, cells), found in WRONG_COUNTS.items():
        assert len(WindowPooling((n,)).bins(cells, n)) == found
        with pytest.raises(ValueError, match=f"along {cells}, .* give {found} bins"):
            WindowPooling((n,))(random_maps(1, 1, cells, cells))
    with pytest.raises(ValueError, match="along 3, fewer cells than bins"):
        WindowPooling((4,))(random_maps(1, 1, 8, 3))


@pytest.mark.parametrize("n", LEVELS)
@pytest.mark.parametrize("cells", SIZES)
def test_the_laws_of_the_docstrings(cells, n):
    rest, whole = cells % n, cells // n
    exact = SpatialPyramidPooling((n,)).bins(cells, n)
    window = WindowPooling((n,))
    assert (window.bins(cells, n) == exact) == (rest <= 1 and whole > 0)
    assert (window.why_not((cells, cells), n) is not None) == (rest > whole)
    if 2 <= rest <= whole:
        assert len(window.bins(cells, n)) == n
        unread = (window.coverage((cells, cells), n) == 0).all(dim=1)
        assert unread.nonzero().flatten().tolist() == list(range(cells - rest + 1, cells))
    ceiled = WindowPooling((n,), ceil_mode=True)
    assert (ceiled.why_not((cells, cells), n) is None) == (rest <= 1 and whole > 0)
    padded = PaddedPooling((n,))
    if padded.why_not((cells, cells), n) is None:
        assert padded.coverage((cells, cells), n).eq(1).all()
        assert (padded.bins(cells, n) == exact) == (rest == 0)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_coverage_is_what_torchs_windows_read(form, ceil_mode):
    for cells in SIZES:
        for n in LEVELS:
            size = (cells, 41 - cells)
            windows = [windows_by_hand(form, length, n) for length in size]
            if any(stride == 0 or padding > kernel // 2 for kernel, stride, padding in windows):
                continue
            pool = WindowPooling((n,), ceil_mode=ceil_mode) if form == "window" else PaddedPooling((n,))
            expected = readers_by_torch(size, windows, ceil_mode and form == "window")
            assert torch.equal(pool.coverage(size, n), expected)


def test_coverage_of_the_exact_form_is_what_adaptive_pooling_reads():
    """Channel c is 1 in cell c alone: a bin is 1 there where it reads the cell."""
    for cells in SIZES:
        for n in LEVELS:
            read = F.adaptive_max_pool2d(torch.eye(cells).view(1, cells, cells, 1), (n, 1))[0, :, :, 0]  # (cells, n)
            along = SpatialPyramidPooling((n,)).coverage((cells, 1), n)
            assert torch.equal(along, read.sum(1).long()[:, None] * n)
            assert along.min() > 0


@examples(150)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["max", "average"]),
)
def test_general_pooling_is_torchs(height, width, kernel, stride, padding, ceil_mode, mode):
    padding = min(padding, kernel // 2)
    maps = random_maps(2, 3, height, width)
    try:
        if mode == "max":
            expected = F.max_pool2d(maps, kernel, stride, padding, ceil_mode=ceil_mode)
        else:  # the mean of a window's cells of the map
            sums, counts = (
                F.avg_pool2d(values, kernel, stride, padding, ceil_mode, divisor_override=1)
                for values in (maps, torch.ones_like(maps))
            )
            expected = sums / counts
        rows, columns = expected.shape[2:]
    except RuntimeError:
        rows = columns = 0
    n = rows or 1
    pool = GeneralPooling(n, kernel, stride, padding, ceil_mode, mode)
    assert (len(pool.bins(height, n)), len(pool.bins(width, n))) == (rows, columns) or not rows * columns
    if not rows * columns or rows != columns:
        with pytest.raises(ValueError, match=f"no level {n} on {height}x{width} cells"):
            pool(maps)
        return
    found = pool(maps)
    assert found.shape == (2, pool.out_features(3))
    torch.testing.assert_close(
        found, expected.permute(0, 2, 3, 1).flatten(1), rtol=0, atol=0 if mode == "max" else 1e-6
    )
    windows = [(kernel, stride, padding)] * 2
    assert torch.equal(pool.coverage((height, width), n), readers_by_torch((height, width), windows, ceil_mode))


def test_overlapping_pooling_of_alexnet():
    maps = random_maps(2, 8, 13, 13)
    expected = torch.nn.MaxPool2d(3, 2)(maps).permute(0, 2, 3, 1).flatten(1)
    for pool in (GeneralPooling(6, 3, 2), WindowPooling((6,)), SpatialPyramidPooling((6,))):
        assert torch.equal(pool(maps), expected)


@pytest.mark.parametrize("form", [WindowPooling, PaddedPooling])
def test_averages_leave_the_padding_out(form):
    maps, n = random_maps(1, 3, 14, 23), 4
    pool = form((n,), "average")
    means = [
        maps[:, :, max(rows[0], 0) : rows[-1] + 1, max(columns[0], 0) : columns[-1] + 1].mean((2, 3))
        for rows in pool.bins(14, n)
        for columns in pool.bins(23, n)
    ]
    torch.testing.assert_close(pool(maps), torch.cat(means, 1), rtol=0, atol=1e-6)


def test_levels_and_maps_of_mixed_sizes_stand_in_the_order_given():
    maps = random_maps(2, 5, 13, 13)
    pool = WindowPooling((1, 6, 2))
    assert torch.equal(pool(maps), torch.cat([WindowPooling((n,))(maps) for n in (1, 6, 2)], 1))
    assert torch.equal(pool(maps), SpatialPyramidPooling((1, 6, 2))(maps))
    maps = [random_maps(3, 13, 13), random_maps(3, 8, 20)]
    for pool in (WindowPooling((4, 2)), PaddedPooling((4, 2))):
        assert torch.equal(pool(maps), torch.cat([pool(one[None]) for one in maps]))


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 2, 0, 4), (1, 2, 4, 0), (0, 2, 4, 4)], ids=str)
@pytest.mark.parametrize("gradient", [False, True])
def test_what_is_no_map_is_refused(shape, gradient):
    for pool in (SpatialPyramidPooling(), WindowPooling((2,)), PaddedPooling((2,)), GeneralPooling(2, 2, 2)):
        with pytest.raises(InputError, match=r"maps: .*with cells"):
            pool(torch.zeros(shape, requires_grad=gradient))


@pytest.mark.parametrize("window", [(0, 1, 0), (1, 0, 0), (3, 1, 2), (3, 1, -1)], ids=str)
def test_windows_that_cannot_be_are_refused(window):
    with pytest.raises(ConfigError, match="kernel"):
        GeneralPooling(2, *window)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_and_gradients(dtype):
    maps = random_maps(2, 3, 8, 8).to(dtype).requires_grad_()
    pooled = PaddedPooling((4, 2))(maps)
    assert pooled.dtype == dtype
    pooled.sum().backward()
    assert maps.grad.sum() == 2 * 3 * 20


def test_representations():
    assert repr(WindowPooling((4,), ceil_mode=True)) == "WindowPooling(levels=(4,), mode=max, ceil_mode=True)"
    window = "Window1d(kernel=3, stride=2, padding=0, ceil_mode=False)"
    assert repr(GeneralPooling(6, 3, 2)) == f"GeneralPooling(levels=(6,), mode=max, {window})"
    assert issubclass(GeneralPooling, SlidingPooling)
