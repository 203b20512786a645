import copy
import json
from pathlib import Path

import pytest
import torch
from contracts import assert_dataset, raised
from factories import COCO

from sppdet.data.coco import read_coco
from sppdet.errors import DataError, SppdetError


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for record in COCO["images"]:
        (folder / record["file_name"]).write_bytes(b"")
    return folder


@pytest.fixture
def content():
    return copy.deepcopy(COCO)


def read(images: Path, content, classes=None):
    path = images.parent / "some.json"
    path.write_text(json.dumps(content))
    return read_coco(images, path, classes)


def test_reads_ids_boxes_labels_and_crowds(images, content):
    dataset = read(images, content)
    assert_dataset(dataset)
    assert dataset.name == "some"
    assert dataset.classes == ("car", "dog", "toothbrush")
    assert dataset.category_ids == (3, 18, 90)
    assert [image.id for image in dataset.images] == [42, 7, 9]
    assert dataset.images[1].path == images / "sub/a.jpg"
    crowd, two, empty = dataset.images
    assert crowd.boxes.tolist() == [[0.5, 0, 1.5, 1]]
    assert crowd.difficult.tolist() == [True]
    assert two.boxes.tolist() == [[10, 20, 40, 60.5], [90, 70, 100, 80]]
    assert two.labels.tolist() == [2, 1]
    assert two.difficult.tolist() == [False, False]
    assert empty.boxes.shape == (0, 4)
    assert (empty.labels.dtype, empty.difficult.dtype) == (torch.int64, torch.bool)


def test_given_classes_give_the_labels_and_the_order_of_ids_and_have_to_fit(images, content):
    dataset = read(images, content, ["dog", "car"])
    assert (dataset.classes, dataset.category_ids) == (("dog", "car"), (18, 3))
    assert dataset.images[1].labels.tolist() == [1, 2]
    with pytest.raises(DataError, match=r"annotations\[0\]\.category_id: unknown class .*one of car, got dog"):
        read(images, content, ["car"])
    with pytest.raises(DataError, match=r"categories: class not in the file \(expected cow"):
        read(images, content, ["car", "dog", "cow"])


def test_agrees_with_pycocotools(images, content):
    from pycocotools.coco import COCO

    content["annotations"][2]["bbox"] = [60, 50, 30, 30]
    dataset = read(images, content)
    oracle = COCO(str(images.parent / "some.json"))
    for image in dataset.images:
        records = oracle.loadAnns(oracle.getAnnIds(imgIds=image.id))
        assert [dataset.category_ids[label - 1] for label in image.labels] == [r["category_id"] for r in records]
        sides = torch.cat([image.boxes[:, :2], image.boxes[:, 2:] - image.boxes[:, :2]], dim=1)
        assert sides.tolist() == [r["bbox"] for r in records]
        assert image.difficult.tolist() == [r.get("iscrowd", 0) == 1 for r in records]


def test_unusable_boxes_are_skipped_and_reported(images, content, caplog):
    for box in ([1, 1, 0, 5], [1, 1, 5, -5], [200, 1, 5, 5], [float("nan"), 1, 5, 5]):
        content["annotations"].append({"id": 9, "image_id": 7, "category_id": 90, "bbox": box})
    assert read(images, content).images[1].labels.tolist() == [2, 1]
    assert len(caplog.messages) == 4
    assert all("some.json: image 7" in message for message in caplog.messages)


def put(path, value):
    """A change to the content: the value at a path of keys, or the key taken out where the value is `...`."""

    def change(content):
        for key in path[:-1]:
            content = content[key]
        if value is ...:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(["images"], ...), ["images", "missing"]),
        (put(["categories"], ...), ["categories", "missing"]),
        (put(["annotations"], ...), ["annotations", "missing"]),
        (put(["annotations"], {}), ["annotations", "expected list"]),
        (put(["images", 1, "id"], ...), ["images[1].id", "missing"]),
        (put(["images", 1, "id"], "7"), ["images[1].id", "expected int", "'7'"]),
        (put(["images", 1, "id"], 42), ["images[1].id", "twice"]),
        (put(["images", 1], 7), ["images[1]", "not an object"]),
        (put(["images", 2, "file_name"], ...), ["images[2].file_name", "missing"]),
        (put(["images", 2, "file_name"], "ghost.jpg"), ["ghost.jpg", "not found", "some.json"]),
        (put(["categories"], []), ["categories", "unique"]),
        (put(["categories", 0, "name"], ...), ["categories[0].name", "missing"]),
        (put(["categories", 0, "name"], "car"), ["categories", "unique"]),
        (put(["categories", 0, "id"], 3), ["categories", "unique"]),
        (put(["annotations", 2, "bbox"], ...), ["annotations[2].bbox", "missing"]),
        (put(["annotations", 2, "bbox"], [1, 2, 3]), ["annotations[2].bbox", "[x, y, w, h]"]),
        (put(["annotations", 2, "bbox"], [1, 2, 3, "4"]), ["annotations[2].bbox", "'4'"]),
        (put(["annotations", 2, "bbox"], [1, 2, 10**400, 4]), ["annotations[2].bbox", "[x, y, w, h]"]),
        (put(["annotations", 2, "bbox"], [1, 2, True, 4]), ["annotations[2].bbox", "True"]),
        (put(["annotations", 2, "image_id"], ...), ["annotations[2].image_id", "missing"]),
        (put(["annotations", 2, "image_id"], 1), ["annotations[2].image_id", "no such image", "got 1"]),
        (put(["annotations", 2, "category_id"], ...), ["annotations[2].category_id", "missing"]),
        (put(["annotations", 2, "category_id"], 4), ["annotations[2].category_id", "unknown class", "got 4"]),
    ],
)
def test_bad_files_name_file_and_field(images, content, change, words):
    change(content)
    said = str(raised(DataError, read, images, content))
    for word in (*words, "some.json"):
        assert word in said


def test_missing_and_unreadable_files(images):
    with pytest.raises(DataError, match="folder not found"):
        read_coco(images / "none", "some.json")
    with pytest.raises(SppdetError, match=r"none\.json: file not found"):
        read_coco(images, images / "none.json")
    (images / "bad.json").write_text("{")
    with pytest.raises(SppdetError, match=r"bad\.json: is not JSON"):
        read_coco(images, images / "bad.json")
    (images / "list.json").write_text("[]")
    with pytest.raises(DataError, match=r"list\.json"):
        read_coco(images, images / "list.json")
