"""Data sets written in another format are the same when they are read, as far as the format can hold them."""

import json
import re
import tempfile
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from contracts import assert_dataset
from data_sets import write_text
from factories import examples
from hypothesis import given, strategies as st
from PIL import Image

from sppdet.config.data import DataConfig
from sppdet.data.conversion.convert import convert_dataset
from sppdet.data.dataset import read_dataset
from sppdet.data.files import composed
from sppdet.structures import Annotations, Dataset

FORMATS = ("voc", "coco", "yolo")


class Thing(NamedTuple):
    """An object. box: x1 y1 x2 y2 in pixels."""

    label: int
    box: tuple[float, float, float, float]
    difficult: bool


class Scene(NamedTuple):
    name: str
    size: tuple[int, int]
    things: list[Thing]


class Made(NamedTuple):
    """A set with ids of COCO's. parts: the scenes of each split; "default" alone if it has none."""

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    ids: dict[str, int]
    parts: dict[str, list[Scene]]


@st.composite
def scenes(draw, name: str, classes: int) -> Scene:
    width, height = draw(st.integers(4, 3000)), draw(st.integers(4, 40))
    scale = draw(st.sampled_from([1, 1, 8, 100]))  # corners in whole pixels, or with decimals
    least = 101 if scale == 100 else scale  # of hundredths, a side of 1 may be rounded to more or to less

    def side(length: int) -> tuple[float, float]:
        low = draw(st.integers(0, (length - 2) * scale))
        high = draw(st.one_of(st.just(length * scale), st.integers(low + least, length * scale)))
        return low / scale, high / scale

    things = []
    for _ in range(draw(st.integers(0, 3))):
        (x1, x2), (y1, y2) = side(width), side(height)
        things.append(Thing(draw(st.integers(0, classes - 1)), (x1, y1, x2, y2), draw(st.booleans())))
    return Scene(name, (width, height), things)


ODD = [
    "a",
    "A",
    "000007",
    "é",
    "e\u0301",
    "a b",
    " x ",
    "#1",
    "-1",
    "a.b",
    "image.jpg",
    "ß",
    "犬",
    "100%",
    "a&b<c>",
    "'\"'",
]
ODD += ["[x", "labels", "classes", "train", "val", "1", "a 1", "a%20b", "?q=1", "x,y", ":", "null", "\U0001f99d", "a-2"]


@st.composite
def sets(draw) -> Made:
    splits = draw(st.sampled_from([("default",), ("train", "val"), ("train", "val", "test"), ("trainval", "test")]))
    names = draw(st.lists(st.sampled_from(ODD), min_size=len(splits), max_size=6, unique_by=composed))
    classes = draw(st.permutations(["dog", "Cat", "yes", "7", "traffic light", "é & <x>", "n/a: #"]))[
        : draw(st.integers(1, 4))
    ]
    parts: dict[str, list[Scene]] = {split: [] for split in splits}
    for i, name in enumerate(names):
        parts[splits[i % len(splits)]].append(draw(scenes(name, len(classes))))
    numbers = st.integers(1, 10**6)
    ids = draw(st.lists(numbers, min_size=len(names), max_size=len(names), unique=True))
    categories = sorted(draw(st.lists(numbers, min_size=len(classes), max_size=len(classes), unique=True)))
    return Made(tuple(classes), tuple(categories), dict(zip(names, ids, strict=True)), parts)


def make(root: Path, made: Made) -> Path:
    """Write the set in COCO format."""
    for split, parts in made.parts.items():
        images, annotations = [], []
        for scene in parts:
            path = root / split / f"{scene.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            number = made.ids[scene.name]
            Image.new("RGB", scene.size, number).save(path)  # each of another color
            images.append({"id": number, "file_name": path.name, "width": scene.size[0], "height": scene.size[1]})
            for thing in scene.things:
                x1, y1, x2, y2 = thing.box
                row = {
                    "image_id": number,
                    "category_id": made.category_ids[thing.label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                annotations.append({"id": len(annotations) + 1, "iscrowd": int(thing.difficult), **row})
        categories = [{"id": k, "name": name} for k, name in zip(made.category_ids, made.classes, strict=True)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        write_text(root / f"annotations/instances_{split}.json", json.dumps(content))
    return root


def convert(source: Path, target: str, folder: Path, **options):
    return convert_dataset(DataConfig(root=str(source)), target, folder, **options)


def read(root: Path, split: str, classes: tuple[str, ...] | None = None) -> Dataset:
    config = DataConfig(root=str(root), split="train" if split == "default" else split, split_fractions=(1.0, 0.0, 0.0))
    dataset = read_dataset(config, classes)
    assert_dataset(dataset)
    return dataset


def content_of(image: Annotations) -> bytes:
    return image.path.read_bytes()


def rows_of(dataset: Dataset, key=content_of) -> dict[object, list[tuple]]:
    """Class, box and difficult of the objects of each image, by its content or another key."""
    return {
        key(image): [
            (dataset.classes[label - 1], *box, difficult)
            for label, box, difficult in zip(
                image.labels.tolist(), image.boxes.tolist(), image.difficult.tolist(), strict=True
            )
        ]
        for image in dataset.images
    }


def assert_held(found: dict, expected: dict, formats: list[str], width: float = 3000) -> None:
    """The objects are those expected, without those that one of the formats does not hold, up to its decimals."""
    difficult, least = "yolo" not in formats, 1 if "voc" in formats else 0
    assert found.keys() == expected.keys()
    for name, rows in found.items():
        wanted = [
            row for row in expected[name] if min(row[3] - row[1], row[4] - row[2]) > least and row[5] <= difficult
        ]
        assert [(row[0], row[5]) for row in rows] == [(row[0], row[5]) for row in wanted]
        boxes, exact = (np.array([row[1:5] for row in each]).reshape(-1, 4) for each in (rows, wanted))
        if "yolo" in formats:  # rounds to whole pixels what its decimals do not tell from them
            assert np.abs(boxes - exact).max(initial=0) <= 2e-6 * width
            whole = (exact == exact.round()).all(axis=1)
            assert (boxes[whole] == exact[whole]).all()
        else:
            assert (boxes == exact).all()


def rename(split: str, formats: list[str]) -> str:
    """The name that a split has in the last format, as YOLO knows train, val and test only."""
    return "train" if "yolo" in formats and split in ("default", "trainval") else split


@pytest.mark.parametrize(("first", "second"), list(product(FORMATS, FORMATS)))
@examples(12)
@given(made=sets())
def test_a_set_is_the_same_in_every_format(first, second, made):
    with tempfile.TemporaryDirectory() as folder:
        steps = [make(Path(folder, "source"), made)]
        for n, target in enumerate((first, second, "coco")):
            done = convert(steps[-1], target, Path(folder, f"{n} {target}"))
            steps.append(Path(folder, f"{n} {target}"))
            assert sum(map(len, done.parts.values())) == len(made.ids)
        formats, by_id = [first, second], attrgetter("id")
        for split in made.parts:
            source, last = read(steps[0], split), read(steps[-1], rename(split, formats))
            assert_held(rows_of(last, by_id), rows_of(source, by_id), formats)
            assert (last.classes, last.category_ids) == (source.classes, source.category_ids)
            for n in (1, 2):
                between = read(steps[n], rename(split, formats[:n]), made.classes)
                assert_held(rows_of(between), rows_of(source), formats[:n])
                names = {content_of(image): image.path.stem for image in source.images}
                for image in between.images:
                    expected = composed(names[content_of(image)]).strip()
                    assert re.fullmatch(rf"{re.escape(expected)}(-\d)?", image.path.stem)  # or numbered
                    if formats[n - 1] != "coco":
                        assert image.id == image.path.stem
