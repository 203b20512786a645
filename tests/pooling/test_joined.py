"""Pooling from several maps: the vector is what each form gives for its map, one after the other."""

import pytest
import torch
from factories import examples, random_maps, random_windows
from hypothesis import given, strategies as st
from torch import Tensor

from sppdet.errors import InputError
from sppdet.pooling.joined import JoinedPooling, join_pyramids
from sppdet.pooling.pyramid import SpatialPyramidPooling
from sppdet.pooling.roi import RoIAlign, RoIPooling

CHANNELS, SIZES = (3, 5), ((9, 12), (5, 6))
FORMS = [
    (SpatialPyramidPooling((3, 1)), SpatialPyramidPooling((2,))),
    (SpatialPyramidPooling((3, 1), "average"), SpatialPyramidPooling((2,), "average")),
    (RoIPooling(3), RoIPooling(2, 1 / 2)),
    (RoIAlign(2), RoIAlign(2)),
]
INDEX = torch.tensor([0, 1, 1, 0])


def two_maps(batch: int = 2, sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0) -> list[Tensor]:
    return [random_maps(batch, each, *size, seed=seed) for each, size in zip(CHANNELS, sizes, strict=True)]


def windows_of(sizes: tuple[tuple[int, int], ...] = SIZES, seed: int = 0) -> Tensor:
    """Windows (4, 2, 4) that have nothing to do with one another."""
    return torch.stack([random_windows(4, *size, seed + number) for number, size in enumerate(sizes)], dim=1)


def regions_for(pool: JoinedPooling) -> Tensor:
    windows = windows_of()
    return windows if isinstance(pool.forms[0], SpatialPyramidPooling) else windows.float() + 0.25


@pytest.mark.parametrize("forms", FORMS, ids=repr)
def test_regions_have_the_vectors_of_each_form(forms):
    pool, maps = JoinedPooling(forms, CHANNELS), two_maps()
    regions = regions_for(pool)
    expected = torch.cat([form(maps[m], regions[:, m], INDEX) for m, form in enumerate(forms)], dim=1)
    assert torch.equal(pool(maps, regions, INDEX), expected)
    prepared, memory = pool.prepare_maps(maps), torch.full(expected.shape, torch.nan)
    assert torch.equal(pool(prepared, regions, INDEX), expected)
    assert pool(prepared, regions, INDEX, out=memory) is memory
    assert torch.equal(memory, expected)
    assert pool.lengths == [form.out_features(each) for form, each in zip(forms, CHANNELS, strict=True)]
    assert pool.dimension == sum(pool.lengths) == expected.shape[1]
    assert pool(prepared, regions[:0], INDEX[:0]).shape == (0, pool.dimension)


@examples(40)
@given(
    st.tuples(*(st.tuples(st.integers(1, 12), st.integers(1, 12)) for _ in CHANNELS)),
    st.sampled_from(["max", "average"]),
    st.integers(0, 999),
)
def test_maps_of_any_sizes_whole_and_in_windows(sizes, mode, seed):
    levels, maps, windows = ((4, 1), (2, 3)), two_maps(2, sizes, seed), windows_of(sizes, seed)
    pool = join_pyramids(levels, mode, CHANNELS)
    forms = [SpatialPyramidPooling(each, mode) for each in levels]
    whole = torch.cat([form(each) for form, each in zip(forms, maps, strict=True)], dim=1)
    assert torch.equal(pool(maps), whole)
    inside = torch.cat([form(maps[m], windows[:, m], INDEX) for m, form in enumerate(forms)], dim=1)
    assert torch.equal(pool(maps, windows, INDEX), inside)
    assert torch.equal(pool(pool.prepare_maps(maps), windows, INDEX, torch.empty_like(inside)), inside)


@pytest.mark.parametrize("forms", FORMS, ids=repr)
def test_vectors_of_unit_length(forms):
    plain, unit, maps = JoinedPooling(forms, CHANNELS), JoinedPooling(forms, CHANNELS, unit_length=True), two_maps()
    maps[0][0] = 0  # what is zero stays zero
    regions = regions_for(unit)
    parts = plain(maps, regions, INDEX).split(plain.lengths, dim=1)
    expected = torch.cat([part / part.norm(dim=1, keepdim=True).clamp(min=1e-12) for part in parts], dim=1)
    assert sorted({round(float(each), 3) for each in expected.norm(dim=1)}) == [1, 1.414]  # of one and of two maps
    torch.testing.assert_close(unit(maps, regions, INDEX), expected)
    torch.testing.assert_close(unit(maps, regions, INDEX, constant_lengths=True), expected)
    memory = torch.full(expected.shape, torch.nan)
    torch.testing.assert_close(unit(unit.prepare_maps(maps), regions, INDEX, out=memory), expected)
    changed = maps[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(unit([changed, maps[1]], regions, INDEX)[:, 0].sum(), changed)
    assert slope[1].any()
    assert float((slope[1] * maps[0][1]).sum().abs()) < 1e-4  # a map twice as large has the same vectors


@pytest.mark.parametrize("forms", FORMS, ids=repr)
def test_gradients_reach_each_map(forms):
    pool, maps = JoinedPooling(forms, CHANNELS), [each.requires_grad_() for each in two_maps()]
    regions = regions_for(pool)
    weights = random_maps(4, pool.dimension)
    found = torch.autograd.grad((pool(maps, regions, INDEX) * weights).sum(), maps)
    for m, part in enumerate(weights.split(pool.lengths, dim=1)):
        pooled = forms[m](maps[m], regions[:, m], INDEX)
        torch.testing.assert_close(found[m], *torch.autograd.grad((pooled * part).sum(), maps[m]))


def test_memory_of_any_layout_and_type():
    pool, prepared = JoinedPooling(FORMS[0], CHANNELS), JoinedPooling(FORMS[0], CHANNELS).prepare_maps(two_maps())
    expected = pool(prepared, windows_of(), INDEX)
    strided = torch.full((pool.dimension, 4), torch.nan).T
    assert torch.equal(pool(prepared, windows_of(), INDEX, out=strided), expected)
    rounded = torch.full((4, pool.dimension), torch.nan, dtype=torch.float16)
    assert torch.equal(pool(prepared, windows_of(), INDEX, out=rounded), expected.half())


@pytest.mark.parametrize("forms", FORMS, ids=repr)
@pytest.mark.parametrize("change", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_memory_of_the_wrong_shape(forms, change):
    pool, maps = JoinedPooling(forms, CHANNELS), two_maps()
    out = torch.zeros(4 + change[0], pool.dimension + change[1])
    with pytest.raises(InputError, match=rf"^out: wrong shape .expected \(4, {pool.dimension}\)"):
        pool(maps, regions_for(pool), INDEX, out=out)
    assert not out.any()


def test_windows_of_several_images_say_of_which():
    with pytest.raises(InputError, match="index: not given"):
        JoinedPooling(FORMS[0], CHANNELS)(two_maps(), windows_of())


def test_one_map_has_the_vector_of_its_form():
    (form, _), (maps, _), windows = FORMS[0], two_maps(), windows_of()[:, :1]
    pool = JoinedPooling([form], CHANNELS[:1])
    assert torch.equal(pool([maps], windows, INDEX), form(maps, windows[:, 0], INDEX))
    assert torch.equal(pool([maps]), form(maps))
