import math

import pytest
import torch
from hypothesis import assume, given, strategies as st
from torch import Tensor

from sppdet.backbones.geometry import Geometry
from sppdet.pooling.windows import boxes_to_windows, choose_scales

ZF5 = Geometry(stride=16, center=20.0, receptive_field=139)  # cells centered at 20.5, 36.5, 52.5 ...
C4 = Geometry(stride=16, center=0.0, receptive_field=299)
RULES = ("paper", "code", "round")

geometries = st.builds(
    Geometry, st.sampled_from([1, 4, 8, 16]), st.sampled_from([-3.5, 0.0, 3.5, 7.5, 15.0, 20.0]), st.just(99)
)
map_sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def window(box: tuple[float, ...], rule: str, geometry: Geometry = ZF5, scale=(1.0, 1.0), size=(20, 30)) -> list[int]:
    return boxes_to_windows(torch.tensor([box]), scale, geometry, size, rule)[0].tolist()


@pytest.mark.parametrize(
    ("box", "paper", "code", "rounded"),
    [
        # x: centers 20.5, 36.5, 52.5 lie under 64. y: 84.5 lies under 100, and 100.5 half a pixel outside it.
        ((0.0, 0, 64, 100), [0, 0, 3, 5], [0, 0, 3, 6], [0, 0, 4, 6]),
        # Between the centers 36.5 and 52.5: no cell, so the truncated mean of 2 and 1.
        ((40.0, 40, 50, 50), [1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 3]),
        # Edges on the centers 36.5 and 68.5 themselves: the paper's rule is strict.
        ((36.5, 36.5, 68.5, 68.5), [2, 2, 3, 3], [1, 1, 4, 4], [1, 1, 4, 4]),
        # 1.5 pixels short of the centers 36.5 and 68.5 the code's rule lets go of them.
        ((38.0, 37.9, 67.0, 67.1), [2, 2, 3, 3], [2, 1, 3, 4], [1, 1, 4, 4]),
        # Beside the map: the nearest cell.
        ((-90.0, 0, -50, 30), [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 2]),
        ((900.0, 900, 990, 990), [29, 19, 30, 20], [29, 19, 30, 20], [29, 19, 30, 20]),
        # Without area, half a pixel from the center 52.5.
        ((52.0, 52, 52, 52), [1, 1, 2, 2], [2, 2, 3, 3], [2, 2, 3, 3]),
    ],
)
def test_windows_by_hand(box, paper, code, rounded):
    assert [window(box, rule) for rule in RULES] == [paper, code, rounded]


def test_boxes_are_scaled_by_each_ratio_and_fast_rcnn_rounds_halves_away_from_zero():
    """C4's cell 0 is centered at 0.5: u = (8.5 - 0.5) / 16 = 1/2 and (40.5 - 0.5) / 16 = 5/2."""
    assert window((8.5, 8.5, 40.5, 40.5), "round", C4) == [1, 1, 4, 4]
    assert window((10.0, 10, 50, 50), "paper", scale=(2.0, 0.5)) == window((20.0, 5, 100, 25), "paper")


@st.composite
def boxes(draw, step: float | None = None) -> Tensor:
    """A box (1, 4) in and around an image; on a grid of `step` pixels where given."""
    coordinate = st.floats(-300, 900, width=32) if step is None else st.integers(-100, 700).map(lambda i: i * step)
    x, y = sorted((draw(coordinate), draw(coordinate))), sorted((draw(coordinate), draw(coordinate)))
    return torch.tensor([[x[0], y[0], x[1], y[1]]])


@given(boxes(), geometries, map_sizes, st.sampled_from(RULES), st.floats(0.1, 8))
def test_a_window_is_inside_the_map_and_has_a_cell(box, geometry, size, rule, scale):
    x1, y1, x2, y2 = boxes_to_windows(box, (scale, scale), geometry, size, rule)[0].tolist()
    assert 0 <= x1 < x2 <= size[1]
    assert 0 <= y1 < y2 <= size[0]


@given(boxes(), boxes(), geometries, map_sizes, st.sampled_from(RULES))
def test_edges_that_move_right_never_move_a_window_left(a, b, geometry, size, rule):
    left, right = torch.minimum(a, b), torch.maximum(a, b)
    windows = boxes_to_windows(torch.cat([left, right]), (1.0, 1.0), geometry, size, rule)
    assert (windows[0] <= windows[1]).all()


@given(boxes(), st.tuples(*[st.floats(0, 100, width=32)] * 4), geometries, st.sampled_from(RULES))
def test_a_larger_box_has_a_larger_window(box, growth, geometry, rule):
    # Boxes so small that their window is the fallback cell have no such order.
    assume((box[:, 2:] - box[:, :2]).min() >= 2 * geometry.stride)
    larger = box + torch.tensor(growth) * torch.tensor([-1, -1, 1, 1])
    inner, outer = boxes_to_windows(torch.cat([box, larger]), (1.0, 1.0), geometry, (40, 40), rule).tolist()
    assert outer[0] <= inner[0] < inner[2] <= outer[2]
    assert outer[1] <= inner[1] < inner[3] <= outer[3]


@given(boxes(step=0.25), geometries, map_sizes, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_papers_window_is_the_cells_centered_strictly_inside(box, geometry, size, scale):
    found = boxes_to_windows(box, (scale, scale), geometry, size, "paper")[0].tolist()
    for axis in (0, 1):
        start, end = float(box[0, axis]) * scale, float(box[0, axis + 2]) * scale
        cells = range(size[1 - axis])
        inside = [j for j in cells if start < geometry.stride * j + geometry.center + 0.5 < end]
        if inside:
            assert (found[axis], found[axis + 2]) == (inside[0], inside[-1] + 1)
        else:
            assert found[axis + 2] == found[axis] + 1


def authors_window(first: int, last: int, length: int, offset: int = 21) -> tuple[int, int]:
    """The authors' formula along one axis, in their convention: pixels `first` to `last` of a region and the cells
    returned are 1-based and both included; 21 is the 1-based middle of cell 1 of ZF-5."""
    left = math.floor((first - offset + 6.5) / 16 + 0.5) + 1
    right = math.ceil((last - offset - 6.5) / 16 - 0.5) + 1
    if left > right:
        left = right = int((left + right) / 2)  # truncates, as MATLAB's fix
    return min(max(left, 1), length), min(max(right, 1), length)


@pytest.mark.parametrize("half_pixel", [0.0, 0.5])
def test_the_codes_rule_is_the_authors_formula(half_pixel):
    """A half-open box [x1, x2) covers the authors' pixels x1 + 1 to x2, whose middles are x1 + 1/2 and x2 - 1/2. Their
    formula measures from those middles: ours of the box that is smaller by half a pixel at each end. Ours measures
    from the edges; for whole pixels at scale 1 nothing lies in that half pixel, so the windows are the same."""
    pairs = [(x1, x2) for x1 in range(-40, 150) for x2 in range(x1 + 1, 150)]
    box = torch.tensor([[x1 + half_pixel, 0, x2 - half_pixel, 1] for x1, x2 in pairs])
    ours = boxes_to_windows(box, (1.0, 1.0), ZF5, (7, 7), "code")[:, [0, 2]]
    theirs = torch.tensor([authors_window(x1 + 1, x2, 7) for x1, x2 in pairs])
    assert torch.equal(ours, theirs - torch.tensor([1, 0]))


@given(boxes(step=0.25), geometries)
def test_the_codes_window_reaches_less_than_a_tenth_of_a_stride_outside(box, geometry):
    start, end = ((box[0, [0, 2]].double() - geometry.center - 0.5) / geometry.stride).tolist()
    inside = [j for j in range(40) if start - 1.5 / 16 < j < end + 1.5 / 16]
    assume(inside)
    found = boxes_to_windows(box, (1.0, 1.0), geometry, (40, 40), "code")[0].tolist()
    assert (found[0], found[2]) == (inside[0], inside[-1] + 1)


FIVE = (480, 576, 688, 864, 1200)


@given(st.floats(4, 2000), st.floats(4, 2000), st.integers(50, 1000))
def test_scales_by_both_rules(width, height, shorter_side):
    box = torch.tensor([[10, 20, 10 + width, 20 + height]])
    width, height = (box[0, 2:] - box[0, :2]).double().tolist()
    areas = [abs(width * height * (s / shorter_side) ** 2 - 224**2) for s in FIVE]
    assert areas[int(choose_scales(box, shorter_side, FIVE, "paper"))] == pytest.approx(min(areas), rel=1e-9)
    sides = [abs(s - 208 * shorter_side / math.sqrt(width * height)) for s in FIVE]
    assert sides[int(choose_scales(box, shorter_side, FIVE, "code"))] == pytest.approx(min(sides), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("side", "paper", "code"),
    [
        (224, 0, 0),  # the shorter side is 480: a square of 224 is right at 480
        (448, 0, 0),
        (112, 3, 3),  # wants 960, of which 864 is nearer than 1200
        (0, 4, 4),
        (100, 4, 3),  # 224 x 224 wants 1075, whose square lies nearer to that of 1200; the code wants 998
    ],
)
def test_scales_by_hand(side, paper, code):
    square = torch.tensor([[0.0, 0, side, side]])
    assert [choose_scales(square, 480, FIVE, rule).tolist() for rule in ("paper", "code")] == [[paper], [code]]


def test_equal_scales_go_to_the_first_and_no_boxes_to_none():
    assert choose_scales(torch.tensor([[0.0, 0, 50, 50]]), 100, (300, 300, 300)).tolist() == [0]
    windows = boxes_to_windows(torch.zeros(0, 4), (1.0, 1.0), ZF5, (5, 5))
    assert (windows.shape, windows.dtype) == ((0, 4), torch.int64)
    assert choose_scales(torch.zeros(0, 4), 100, FIVE).shape == (0,)
