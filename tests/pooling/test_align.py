"""RoI Align against what its definition says of maps whose values are known everywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sppdet.errors import ConfigError
from sppdet.pooling.align import RoIAlign

inside = st.floats(1, 11)


@given(st.tuples(inside, inside), st.tuples(inside, inside), st.integers(1, 5), st.integers(1, 3))
def test_bins_of_a_ramp_have_the_value_at_their_middle(xs, ys, size, samples):
    """A map whose value is the place of a cell's centre: interpolated and averaged, it gives the middle of each bin."""
    places = torch.arange(12) + 0.5
    maps = torch.stack([places.expand(12, 12), places[:, None].expand(12, 12)])[None]  # x and y
    (x1, x2), (y1, y2) = sorted(xs), sorted(ys)
    pooled = RoIAlign(size, samples)(maps, torch.tensor([[x1, y1, x2, y2]])).view(size, size, 2)
    middles = (torch.arange(size) + 0.5) / size
    torch.testing.assert_close(pooled[0, :, 0], x1 + middles * (x2 - x1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pooled[:, 0, 1], y1 + middles * (y2 - y1), rtol=1e-4, atol=1e-4)


def test_rows_are_written_where_they_are_wanted():
    pool, maps, windows = RoIAlign(3), torch.rand(1, 5, 8, 9), torch.rand(4, 4) * 8
    out = torch.empty(4, pool.out_features(5))
    assert pool(pool.lay_out(maps), windows, out=out) is out
    assert torch.equal(out, pool(maps, windows))
    assert pool(maps, windows[:0]).shape == (0, 45)


def test_gradients_reach_the_cells_in_reach_only():
    maps = torch.rand(1, 1, 8, 8, requires_grad=True)
    RoIAlign(2)(maps, torch.tensor([[2.0, 2.0, 4.0, 4.0]])).sum().backward()
    touched = maps.grad[0, 0] != 0
    assert touched[2:4, 2:4].all()
    assert not touched[5:].any()


def test_what_is_off_the_map_counts_as_nothing():
    maps = torch.ones(1, 1, 4, 4)
    pooled = RoIAlign(2, 1)(maps, torch.tensor([[-4.0, 0.0, 4.0, 4.0]])).view(2, 2)
    assert pooled.tolist() == [[0, 1], [0, 1]]  # the left bins' samples are two cells off


@pytest.mark.parametrize(("size", "samples", "field"), [(0, 2, "size"), (7, 0, "samples")])
def test_numbers_that_cannot_be_are_refused(size, samples, field):
    with pytest.raises(ConfigError, match=field):
        RoIAlign(size, samples)
