"""COCO format: errors name the file and the field."""

import copy
import json

import pytest
from contracts import raised
from data_sets import read_coco_content as read

from sppdet.data.formats.coco import read_coco
from sppdet.data.formats.coco_file import CocoFile
from sppdet.data.problems import Problems
from sppdet.errors import DataError, SppdetError


@pytest.mark.parametrize("segmentation", [[[1, 2, 3]], [["a", 2]], {"counts": "x"}, {"size": 3}, "x", [[]], 5])
def test_a_segmentation_that_is_none(images, content, segmentation):
    content["annotations"][0] |= {"bbox": None, "segmentation": segmentation}
    with pytest.raises(DataError, match=r"some\.json: annotations\[0\]\.segmentation: (not polygons|texts instead)"):
        read(images, content)


def test_boxes_in_other_units_are_refused(images, content):
    corners, fractions = copy.deepcopy(content), content
    rows = [[10, 20, 50, 60], [50, 50, 90, 79], [30, 40, 99, 80]]
    for record, corner in zip(corners["annotations"], rows, strict=True):
        record |= {"bbox": corner, "image_id": 7}
    with pytest.raises(
        DataError, match=r"some\.json: annotations\[1\]\.bbox: corners, not sides .*got \[50, 50, 90, 79\]"
    ):
        read(images, corners)
    for record in fractions["annotations"]:
        record["bbox"] = [0.25, 0.5, 0.25, 0.125]
    with pytest.raises(DataError, match=r"annotations\[0\]\.bbox: fractions of the image, not pixels"):
        read(images, fractions)


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
        (put(["images", 1, "id"], ["7"]), ["images[1].id", "expected int", '["7"]']),
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
        (
            put(["annotations", 2, "bbox"], [1, 2, 3, "4"]),
            ["annotations[2].bbox: texts instead of numbers", 'got [1, 2, 3, "4"]'],
        ),
        (put(["annotations", 2, "bbox"], None), ["annotations[2].bbox: wrong type", "got null"]),
        (put(["annotations", 2, "bbox"], [1, 2, 10**400, 4]), ["annotations[2].bbox", "[x, y, w, h]"]),
        (put(["annotations", 2, "bbox"], [1, 2, True, 4]), ["annotations[2].bbox", "true"]),
        (put(["annotations", 2, "image_id"], ...), ["annotations[2].image_id", "missing"]),
        (
            put(["annotations", 2, "image_id"], 1),
            ["annotations[2].image_id", "no such image: add it to images, or remove", "got 1"],
        ),
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


def test_an_image_without_a_name_is_one_error(tmp_path, content):
    """Its annotations are not said to be of no image."""
    content["images"] = [{key: one[key] for key in one if key != "file_name"} for one in content["images"]]
    (tmp_path / "some.json").write_text(json.dumps(content))
    problems = Problems(strict=False)
    CocoFile(tmp_path / "some.json", problems)
    assert [one.field for one in problems.found] == [f"images[{i}].file_name" for i in range(len(content["images"]))]
