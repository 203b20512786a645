import pytest
import torch
import torch.nn.functional as F
from factories import examples, random_maps
from hypothesis import given, strategies as st
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from sppdet.errors import ConfigError, InputError
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign, RoIPooling

SIZES, LEVELS = range(1, 41), range(1, 8)
BOXES = torch.tensor([[0.0, 0, 159, 111], [16.3, 8, 120, 90.7], [31.9, 47.2, 33, 48]])  # of 160 x 112 pixels
IMAGE = torch.tensor([0, 1, 1])


@pytest.mark.parametrize("n", LEVELS)
def test_both_are_torchvisions(n):
    maps = random_maps(2, 5, 14, 20)
    rois = torch.cat([IMAGE[:, None], BOXES], dim=1)
    pairs = [
        (RoIPooling(n, 1 / 8), roi_pool(maps, rois, n, 1 / 8)),
        (RoIAlign(n, 1 / 8), roi_align(maps, rois, n, 1 / 8, 2, aligned=True)),
        (RoIAlign(n, 1 / 8, samples=None), roi_align(maps, rois, n, 1 / 8, aligned=True)),
    ]
    for pool, expected in pairs:
        found = pool(maps, BOXES, IMAGE)
        assert found.shape == (3, pool.out_features(5))
        assert torch.equal(found, expected.permute(0, 2, 3, 1).flatten(1))
        assert torch.equal(pool(maps[:1], BOXES[:1]), found[:1])


@pytest.mark.parametrize("n", LEVELS)
def test_roi_pooling_of_whole_cells_is_the_exact_form(n):
    """For all sizes up to 40; the box of a window from a to b ends at b - 1."""
    for cells in SIZES:
        pool, exact = RoIPooling(n), SpatialPyramidPooling((n,))
        size = (cells, 41 - cells)
        assert torch.equal(pool.coverage(size, n), exact.coverage(size, n))
        assert pool.bins(cells + 5, n, (2, cells + 1)) == [[2 + cell for cell in each] for each in exact.bins(cells, n)]
        maps, window = random_maps(1, 2, cells + 3, 44), torch.tensor([[2, 1, 43 - cells, cells + 1]])
        box = window.float() - torch.tensor([0, 0, 1, 1])
        assert torch.equal(pool(maps, box), exact(maps, window))


def test_roi_pooling_rounds_and_the_seventh_bin_of_57_cells_ends_late():
    assert RoIPooling(1).bins(9, 1, (1.4, 3.6)) == [[1, 2, 3, 4]]
    assert RoIPooling(1).bins(9, 1, (1.5, 3.4)) == [[2, 3]]
    assert RoIPooling(2, 1 / 16).bins(9, 2, (23, 60)) == [[1, 2], [3, 4]]
    assert RoIPooling(1).bins(9, 1, (7, 12)) == [[7, 8]]  # cut at the edge of the map
    assert RoIPooling(7).bins(60, 7, (0, 56))[-1] == list(range(48, 58))
    assert SpatialPyramidPooling((7,)).bins(57, 7)[-1] == range(48, 57)


def align_by_grid(maps: Tensor, box: Tensor, n: int, samples: int) -> Tensor:
    """(C, n, n): torch's interpolation at the points that the docstring names, averaged."""
    height, width = maps.shape[2:]
    share = (torch.arange(n * samples, dtype=maps.dtype) + 0.5) / (n * samples)
    x, y = box[0] + share * (box[2] - box[0]), box[1] + share * (box[3] - box[1])
    grid = torch.stack(torch.meshgrid(2 * x / width - 1, 2 * y / height - 1, indexing="xy"), dim=2)
    points = F.grid_sample(maps, grid[None], padding_mode="border", align_corners=False)
    return F.avg_pool2d(points, samples)[0]


@st.composite
def inner_boxes(draw) -> Tensor:
    x, y = (sorted(draw(st.tuples(st.floats(0, end), st.floats(0, end)))) for end in (11, 9))
    return torch.tensor([[x[0], y[0], x[1] + 0.1, y[1] + 0.1]], dtype=torch.float64).clamp(max=9)


@examples(60)
@given(inner_boxes(), st.sampled_from(LEVELS), st.integers(1, 4))
def test_roi_align_reads_its_points(box, n, samples):
    maps = random_maps(1, 3, 9, 11).double()
    expected = align_by_grid(maps, box[0], n, samples).permute(1, 2, 0).flatten()[None]
    torch.testing.assert_close(RoIAlign(n, samples=samples)(maps, box), expected, rtol=0, atol=1e-9)


def test_coverage_of_a_box_is_what_its_gradient_reaches():
    box = torch.tensor([1.3, 2.2, 9.7, 7.9], dtype=torch.float64)
    for n in LEVELS:
        maps = torch.zeros(1, 1, 9, 11, dtype=torch.float64, requires_grad=True)
        pooled = align_by_grid(maps, box, n, 2)[0].flatten()
        gradients = [torch.autograd.grad(value, maps, retain_graph=True)[0][0, 0] for value in pooled]
        expected = torch.stack([gradient > 1e-9 for gradient in gradients]).sum(0)
        assert torch.equal(RoIAlign(n).coverage((9, 11), n, box.tolist()), expected)
        assert torch.equal(RoIAlign(n, 1 / 16).coverage((9, 11), n, (16 * box).tolist()), expected)


@pytest.mark.parametrize("n", LEVELS)
def test_bins_longer_than_two_samples_leave_cells_out(n):
    for cells in SIZES:
        for samples in (1, 2):
            unread = (RoIAlign(n, samples=samples).coverage((cells, 1), n) == 0).any()
            assert unread == (cells > 2 * samples * n)
        assert RoIAlign(n, samples=None).coverage((cells, cells), n).min() > 0


@pytest.mark.parametrize("pool", [RoIPooling(3), RoIAlign(3)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_types_and_gradients(pool, dtype):
    maps = random_maps(2, 3, 14, 20).to(dtype).requires_grad_()
    boxes = BOXES / 8
    pooled = pool(maps, boxes, IMAGE)
    exact = pool(maps.detach().double(), boxes.double(), IMAGE)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.double(), exact, rtol=0, atol=2 * torch.finfo(dtype).eps + 1e-5)
    (gradient,) = torch.autograd.grad(pooled.sum(), maps)
    assert gradient.dtype == dtype
    assert gradient.any()


@pytest.mark.parametrize("pool", [RoIPooling(3), RoIAlign(3)], ids=repr)
def test_what_cannot_be_pooled(pool):
    assert pool(torch.zeros(1, 2, 5, 5), torch.zeros(0, 4)).shape == (0, 18)
    with pytest.raises(InputError, match="maps"):
        pool(torch.zeros(2, 5, 5), BOXES)
    for index in (-1, 2):
        with pytest.raises(InputError, match=r"index: out of range .*0\.\.1"):
            pool(torch.zeros(2, 2, 5, 5), torch.zeros(1, 4), torch.tensor([index]))


@pytest.mark.parametrize("pool", [RoIPooling(3), RoIAlign(3), RoIAlign(3, samples=None)], ids=repr)
@pytest.mark.parametrize(
    "box",
    [
        [0, 0, torch.nan, 3],
        [0, 0, torch.inf, 3],
        [-torch.inf, 0, 3, 3],
        [0, 0, 1e7, 1e7],
        [1e30, 0, 1e30, 3],
        [3, 3, 1, 1],
    ],
    ids=str,
)
def test_boxes_that_cannot_be_pooled(pool, box):
    for dtype in (torch.float16, torch.float32, torch.float64):
        boxes = torch.tensor([[0, 0, 3, 3], box], dtype=dtype)
        with pytest.raises(InputError, match=r"boxes: cannot be pooled .*4096 cells, got \["):
            pool(torch.zeros(1, 2, 5, 5), boxes)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: RoIPooling(0), "levels"),
        (lambda: RoIAlign(2, 0), "scale"),
        (lambda: RoIAlign(2, torch.inf), "scale"),
        (lambda: RoIAlign(2, samples=0), "samples"),
    ],
)
def test_parameters_that_cannot_be(make, field):
    with pytest.raises(ConfigError, match=field):
        make()
