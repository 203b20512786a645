import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from data_sets import (
    PARTS as SCENE_PARTS,
    SCENES,
    read_scenes,
    stems,
    write_files,
    write_image,
    write_parts,
    write_voc,
    write_whole,
)
from hypothesis import given, strategies as st

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset, record_division
from sppdet.data.division import divide, mix, select
from sppdet.data.splits import PARTS
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import read_json, write_json

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


@given(objects, st.integers(0, 5), st.randoms())
def test_any_first_part_of_mixed_names_has_its_fraction_of_every_class(classes, seed, mixer):
    names = [f"{i}" for i in range(len(classes))]
    order = mix(names, classes, seed)
    assert sorted(order) == sorted(names)
    rows = list(zip(names, classes, strict=True))
    mixer.shuffle(rows)
    assert mix(*zip(*rows, strict=True), seed) == order
    counts = Counter(one for each in classes for one in each)
    rarest = [min(sorted(each), key=counts.__getitem__, default="") for each in classes]
    for n in range(1, len(order) + 1):
        first = Counter(rarest[int(name)] for name in order[:n])
        for one, total in Counter(rarest).items():
            others = len(set(rarest)) - 1  # each rounds to a whole number of images, and so does this one
            assert abs(first[one] - n * total / len(order)) <= 0.5 + 0.5 * others * total / len(order) + 0.5


def test_other_seeds_mix_otherwise():
    names, classes = [f"{i}" for i in range(60)], [frozenset("abc"[i % 3]) for i in range(60)]
    assert len({tuple(mix(names, classes, seed)) for seed in range(5)}) == 5
    assert mix([*names, *names], [*classes, *classes], 0) == mix(names, classes, 0)  # a file listed twice


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
    with pytest.raises(DataError, match=r"x: split: no such split \(expected train or trainval, got val\)") as caught:
        select("val", ["a"], {"train": ["a"], "val": [], "test": []}, Path("x"))
    assert caught.value.field == "split"


def test_a_lone_part_to_train_on_is_divided_too(tmp_path):
    for layout in ("roboflow xml", "roboflow coco", "roboflow yolo"):
        root = write_parts(tmp_path / layout, layout)
        shutil.rmtree(root / "valid")
        shutil.rmtree(root / "test")
        assert sorted(stems(read_scenes(root, "trainval")) + stems(read_scenes(root, "test"))) == sorted(
            SCENE_PARTS["train"]
        )


def test_seed_and_fractions_make_another_division(tmp_path):
    root = write_whole(tmp_path, "xml beside")
    assert stems(read_scenes(root, "train", split_fractions=(1.0, 0.0, 0.0))) == "".join(SCENES)
    with pytest.raises(DataError, match=r"split: no such split \(expected train or trainval, got val\)"):
        read_scenes(root, "val", split_fractions=(1.0, 0.0, 0.0))
    assert len({stems(read_scenes(root, "train", split_seed=seed)) for seed in range(9)}) > 1
    with pytest.raises(ConfigError, match=r"data\.split_fractions: .*add up to 1"):
        DataConfig(split_fractions=(0.5, 0.1, 0.1))


def test_a_division_is_written_down_and_used_again(tmp_path, caplog):
    config = DataConfig(root=str(write_whole(tmp_path / "set", "xml beside")), split="test")
    recorded = record_division(config, tmp_path / "split.json")
    content = read_json(tmp_path / "split.json")
    assert (content["seed"], content["fractions"]) == (0, [0.7, 0.15, 0.15])
    assert sorted(content["train"] + content["val"] + content["test"]) == sorted(SCENES)
    assert stems(read_dataset(recorded)) == stems(read_dataset(config)) == "".join(content["test"])
    assert not caplog.messages
    write_files(tmp_path / "set", "", "", "xml", ["a"])
    for new in ("x", "y"):
        write_image(tmp_path / f"set/{new}.png")
    (tmp_path / f"set/{content['train'][0]}.png").unlink()
    assert stems(read_dataset(recorded)) == "".join(content["test"])
    said = "\n".join(caplog.messages)
    assert "split.json: 2 images not in the split" in said
    assert "split.json: 1 image missing" in said
    write_json(tmp_path / "split.json", {"train": ["a"]})
    with pytest.raises(DataError, match=r"split\.json: not a split"):
        read_dataset(recorded)


def test_data_with_parts_are_not_divided(tmp_path):
    config = DataConfig(root=str(write_voc(tmp_path / "set")))
    assert record_division(config, tmp_path / "split.json") == config
    assert not (tmp_path / "split.json").exists()
