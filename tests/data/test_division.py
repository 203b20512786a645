import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from sppdet.data.division import divide, select
from sppdet.data.splits import PARTS
from sppdet.errors import DataError

FRACTIONS = (0.7, 0.15, 0.15)


objects = st.lists(st.frozensets(st.sampled_from("abcd"), max_size=3), min_size=1, max_size=40)


@given(objects, st.integers(0, 5), st.randoms())
def test_a_division_has_each_image_once_whatever_the_order(classes, seed, mixer):
    names = [f"{i}" for i in range(len(classes))]
    division = divide(names, classes, FRACTIONS, seed)
    assert sorted(name for part in division.values() for name in part) == sorted(names)
    rows = list(zip(names, classes, strict=True))
    mixer.shuffle(rows)
    assert divide(*zip(*rows, strict=True), FRACTIONS, seed) == division


def test_parts_have_their_fractions_of_every_class():
    rng = random.Random(0)
    classes = [frozenset(rng.sample("aaaaaabbbc", 2)) for _ in range(1000)]
    names = [f"image {i}" for i in range(1000)]
    division = divide(names, classes, FRACTIONS, 0)
    total = Counter(one for each in classes for one in each)
    for part, fraction in zip(PARTS, FRACTIONS, strict=True):
        assert abs(len(division[part]) - 1000 * fraction) <= 2
        found = Counter(one for name in division[part] for one in classes[names.index(name)])
        assert all(abs(found[one] / total[one] - fraction) < 0.06 for one in "abc")


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (4, [2, 1, 1]), (80, [56, 12, 12])]
)
def test_few_images_of_a_class_are_in_each_part(count, sizes):
    division = divide([str(i) for i in range(count)], [frozenset("a")] * count, FRACTIONS, 0)
    assert [len(division[part]) for part in PARTS] == sizes


def test_one_file_under_two_ids_is_in_one_part():
    division = divide(["a", "b", "a", "c"], [frozenset("x")] * 4, FRACTIONS, 0)
    assert sorted(name for part in division.values() for name in part) == ["a", "b", "c"]
    part = next(part for part in PARTS if "a" in division[part])
    assert select(part, ["a", "b", "a", "c"], division, Path("x")) == [0, 2]


def test_a_part_without_images_is_no_split():
    with pytest.raises(
        DataError, match=r"x: split: no such split \(expected one of train, trainval, got val\)"
    ) as caught:
        select("val", ["a"], {"train": ["a"], "val": [], "test": []}, Path("x"))
    assert caught.value.field == "split"
