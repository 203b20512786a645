"""Any change of an annotation file ends in a data set or in one error that names a file."""

import copy
import json
import random
from pathlib import Path

import pytest
from data_sets import coco_of, write_coco, write_files, write_text, write_voc, xml_of, yolo_of
from factories import examples
from hypothesis import given, strategies as st
from torture.annotations import read_set
from torture.mutate import damage, places

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
    errors = []
    try:
        read_set(root)
    except SppdetError as error:
        errors.append(str(error))
    assert all(str(root) in error for error in errors)


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    return write_coco(tmp_path_factory.mktemp("coco"), "images", "annotations/instances.json")


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
            inner[last] = copy.deepcopy(data.draw(VALUES))  # a list drawn twice must not hold itself
        else:
            del inner[last]
        if not content:
            break
    write_text(coco / "annotations/instances.json", json.dumps(content))
    read(coco)


@examples(150)
@given(seed=st.integers(0, 10**9))
def test_coco_bytes(coco, seed):
    content = json.dumps(coco_of("abcdef")).encode()
    (coco / "annotations/instances.json").write_bytes(damage(content, random.Random(seed)))
    read(coco)


@pytest.fixture(scope="module")
def voc(tmp_path_factory) -> Path:
    return write_voc(tmp_path_factory.mktemp("voc"))


@examples(100)
@given(seed=st.integers(0, 10**9))
def test_xml_and_lists(voc, seed):
    (voc / "Annotations/a.xml").write_bytes(damage(xml_of("a").encode(), random.Random(seed)))
    (voc / "ImageSets/Main/train.txt").write_bytes(damage(b"a\nb\nd 1\n", random.Random(seed)) if seed % 2 else b"a\n")
    read(voc)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory) -> Path:
    return write_files(tmp_path_factory.mktemp("yolo"), "images", "labels", "txt")


@examples(100)
@given(seed=st.integers(0, 10**9))
def test_yolo_labels_and_names(yolo, seed):
    names = b"path: ../x\ntrain: images\nval: images/b.png\nnames: [cat, dog]\n"
    (yolo / "labels/a.txt").write_bytes(damage(yolo_of("a").encode(), random.Random(seed)))
    (yolo / "data.yaml").write_bytes(damage(names, random.Random(seed)) if seed % 2 else names)
    read(yolo)
