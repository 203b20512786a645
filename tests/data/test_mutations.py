"""Any change of an annotation file ends in a data set or in one error that names a file."""

import copy
import json
import random
from pathlib import Path

import pytest
from contracts import assert_dataset
from data_sets import coco_of, write_coco, write_files, write_text, write_voc, xml_of, yolo_of
from factories import examples
from hypothesis import given, strategies as st

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import check_data
from sppdet.data.dataset import read_dataset
from sppdet.data.problems import Problems
from sppdet.errors import SppdetError

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.sampled_from(
        [10**30, -(10**400), 0.5, float("nan"), float("inf"), "", "1", "cat", "true", [], {}, [[1, 2]], "\0"]
    ),
)


def read(root: Path) -> None:
    """Read strictly and not, and check; all that may come is a data set or an error that names a file."""
    errors = []
    for strict in (True, False):
        try:
            assert_dataset(read_dataset(DataConfig(root=str(root), split="train"), problems=Problems(strict)))
        except SppdetError as error:
            errors.append(error)
    try:
        check_data(DataConfig(root=str(root)), ProposalConfig(), decode=False)
    except SppdetError as error:
        errors.append(error)
    assert all((error.file or error.field) and "\n" not in error.message for error in errors)


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("coco"), "images", "annotations/instances.json")


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The paths of all values inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


@examples(150)
@given(data=st.data())
def test_coco_values(coco, data):
    content = copy.deepcopy(coco_of("abcdef"))
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6]]
    content["annotations"][1]["iscrowd"] = 0
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(content)[1:]))
        inner = content
        for key in path:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[last] = data.draw(VALUES)
        else:
            del inner[last]
        if not content:
            break
    write_text(coco / "annotations/instances.json", json.dumps(content))
    read(coco)


def damage(text: bytes, seed: int) -> bytes:
    """Bytes of which some are changed, taken out, or doubled."""
    rng, data = random.Random(seed), bytearray(text)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randint(0, 20))
        piece = bytes(rng.choice(b'<>/&"[]{}:, -.019eNax\xff\xfe\n\0') for _ in range(rng.randint(0, 3)))
        data[start:end] = rng.choice([b"", piece, bytes(data[start:end]) * 2])
    return bytes(data)


@examples(150)
@given(seed=st.integers(0, 10**9))
def test_coco_bytes(coco, seed):
    content = json.dumps(coco_of("abcdef")).encode()
    (coco / "annotations/instances.json").write_bytes(damage(content, seed))
    read(coco)


@pytest.fixture(scope="module")
def voc(tmp_path_factory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc"))


@examples(100)
@given(seed=st.integers(0, 10**9))
def test_xml_and_lists(voc, seed):
    (voc / "Annotations/a.xml").write_bytes(damage(xml_of("a").encode(), seed))
    (voc / "ImageSets/Main/train.txt").write_bytes(damage(b"a\nb\nd 1\n", seed) if seed % 2 else b"a\n")
    read(voc)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory) -> Path:
    return write_files(tmp_path_factory.mktemp("yolo"), "images", "labels", "txt")


@examples(100)
@given(seed=st.integers(0, 10**9))
def test_yolo_labels_and_names(yolo, seed):
    names = b"path: ../x\ntrain: images\nval: images/b.png\nnames: [cat, dog]\n"
    (yolo / "labels/a.txt").write_bytes(damage(yolo_of("a").encode(), seed))
    (yolo / "data.yaml").write_bytes(damage(names, seed) if seed % 2 else names)
    read(yolo)
