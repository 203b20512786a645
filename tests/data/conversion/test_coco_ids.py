import shutil
from pathlib import Path

import pytest
from data_sets import (
    convert,
    write_files,
    write_voc,
)

from sppdet.errors import DataError
from sppdet.files.atomic import read_json, write_json


def test_names_become_numbers_and_come_back(tmp_path):
    root = write_files(tmp_path / "set", "", "", "xml", "a")
    for name in ("000007", "7", "1", "b"):
        shutil.copy(root / "a.png", root / f"{name}.png")
        shutil.copy(root / "a.xml", root / f"{name}.xml")
    convert(root, "coco")
    images = read_json(tmp_path / "coco/annotations/instances_default.json")["images"]
    numbers = {Path(image["file_name"]).stem: image["id"] for image in images}
    assert numbers == {"000007": 7, "1": 1, "7": 2, "a": 3, "b": 4}
    convert(tmp_path / "coco", "voc")
    assert set((tmp_path / "voc/ImageSets/Main/default.txt").read_text().split()) == set(numbers)


@pytest.mark.parametrize("content", [[], {}, {"category_ids": {"cat": "1"}, "image_ids": {}}])
def test_ids_of_another_kind_are_refused(tmp_path, content):
    root = write_voc(tmp_path / "set")
    write_json(root / "coco_ids.json", content)
    with pytest.raises(DataError, match=r"coco_ids\.json: category_ids: not ids"):
        convert(root, "coco")


def test_classes_that_the_ids_do_not_name_get_free_ones(tmp_path):
    root = write_voc(tmp_path / "set")
    write_json(root / "coco_ids.json", {"category_ids": {"dog": 18}, "image_ids": {"JPEGImages/a.png": 5}})
    convert(root, "coco")
    content = read_json(tmp_path / "coco/annotations/instances_train.json")
    assert {row["name"]: row["id"] for row in content["categories"]} == {"dog": 18, "cat": 19}
    assert [row["id"] for row in content["images"]] == [5, 1, 2]
