import pytest
from hypothesis import given, strategies as st

from sppdet.pooling.layout import nest_levels


@pytest.mark.parametrize(
    ("levels", "parents"),
    [
        ((6, 3, 2, 1), [-1, 0, 0, 0]),
        ((1, 2, 3, 6), [3, 3, 3, -1]),
        ((4, 3, 2, 1), [-1, -1, 0, 0]),
        ((7, 3, 2, 1), [-1, -1, -1, 0]),
        ((6, 6, 3), [-1, 0, 0]),
        ((5,), [-1]),
    ],
)
def test_nesting_by_hand(levels, parents):
    assert nest_levels(levels).tolist() == parents


@given(st.lists(st.integers(1, 24), min_size=1, max_size=8).map(tuple))
def test_a_level_is_nested_in_the_finest_multiple(levels):
    for n, parent in zip(levels, parents := nest_levels(levels).tolist(), strict=True):
        if parent < 0:
            assert not any(m > n and m % n == 0 for m in levels)
        else:
            assert levels[parent] == max(m for m in levels if m % n == 0)
            assert parents[parent] == -1
    # Of equal levels without a multiple exactly one reads the map.
    read = [n for n, parent in zip(levels, parents, strict=True) if parent < 0]
    assert len(read) == len(set(read))
