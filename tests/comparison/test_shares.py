"""Nested shares of the images of a training, counted by themselves."""

from collections import Counter

import pytest
import torch
from factories import CLASSES, annotate
from hypothesis import given, strategies as st

from sppdet.comparison.shares import nested_shares
from sppdet.errors import ConfigError
from sppdet.structures import Dataset
from sppdet.training.hold_out import Split

objects = st.lists(st.sets(st.sampled_from([1, 2, 3]), max_size=2), min_size=16, max_size=60)


def split_of(labels: list[set[int]], held_out: list[int], copies: bool = False) -> Split:
    """Images with an object of each label; with `copies` images 0 and 1 have the same content."""
    images = [annotate([[0, 0, 9, 9]] * len(each), sorted(each), name=f"{i}") for i, each in enumerate(labels)]
    keys = [f"key {max(i, 1) if copies else i}" for i in range(len(images))]
    return Split(Dataset("made up", CLASSES, images), list(range(len(images))), held_out, keys)


@given(objects, st.integers(0, 3), st.lists(st.integers(0, 15), max_size=4))
def test_shares_are_nested_and_hold_nothing_that_is_held_out(labels, seed, held_out):
    split = split_of([{1, 2, 3}] * 16 + labels, held_out)
    pool = set(range(len(split.keys))) - set(held_out)
    shares = nested_shares(split, (1.0, 0.25, 0.5), seed)
    assert list(shares) == [round(fraction * len(pool)) for fraction in (0.25, 0.5, 1.0)]
    before: set[int] = set()
    for size, share in shares.items():
        assert len(share) == len(set(share)) == size
        assert share == sorted(share)
        assert before < set(share) <= pool
        before = set(share)
    assert before == pool


def test_each_share_has_its_fraction_of_every_class():
    labels = [{1} if i % 10 else {1, 2} if i % 20 else {2, 3} for i in range(400)]
    split = split_of(labels, [])
    shares = nested_shares(split, (0.125, 0.25, 0.5), 0)
    for share, fraction in zip(shares.values(), (0.125, 0.25, 0.5), strict=True):
        found = Counter(label for i in share for label in labels[i])
        total = Counter(label for each in labels for label in each)
        assert all(abs(found[label] - fraction * total[label]) <= 1.5 for label in total)
    assert nested_shares(split, (0.125,), 0)[50] == shares[50]
    assert nested_shares(split, (0.125,), 1)[50] != shares[50]


def test_copies_stay_together_and_count_once():
    split = split_of([{1}] * 9, [8], copies=True)
    for seed in range(5):
        shares = nested_shares(split, (2 / 7, 1.0), seed)
        assert list(shares) == [2, 7]
        assert len({split.keys[i] for i in shares[2]}) == 2
        assert (0 in shares[2]) == (1 in shares[2])
        assert shares[7] == list(range(8))


@pytest.mark.parametrize(("fractions", "got"), [((0.01, 1.0), "0, 10"), ((0.5, 0.51), "5, 5"), ((), "none")])
def test_fractions_that_give_no_shares_are_refused(fractions, got):
    with pytest.raises(
        ConfigError, match=f"shares: cannot be used .*different fractions of 10 images.*shares of {got}"
    ):
        nested_shares(split_of([{1}] * 10, []), fractions, 0)


def test_a_share_without_objects_is_refused():
    split = split_of([{1}, *[set()] * 19], [])
    with pytest.raises(ConfigError, match="a share without objects"):
        nested_shares(split, (0.05, 1.0), 0)
    difficult = annotate([[0, 0, 9, 9]], torch.ones(1), [True])
    split = split._replace(dataset=Dataset("made up", CLASSES, [difficult] * 20))
    with pytest.raises(ConfigError, match="a share without objects"):
        nested_shares(split, (1.0,), 0)
