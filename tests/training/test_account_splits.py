"""The account of images by the split that they are in, for every layout and every way of holding images out."""

import json
import shutil
from dataclasses import replace

import pytest
from accounts import account_of, assert_adds_up, config_of, rows_of
from data_sets import (
    coco_of,
    image_files,
    write_coco,
    write_files,
    write_image,
    write_parts,
    write_text,
    write_voc,
    xml_of,
    yolo_of,
)

from sppdet.training.account import COPY, HELD_OUT, NO_SPLIT, OTHER, TRAINED


@pytest.mark.parametrize(
    "layout", ["roboflow xml", "xml by kind", "roboflow coco", "coco images by part", "roboflow yolo", "yolo lists"]
)
def test_every_layout(tmp_path, layout):
    account = account_of(config_of(write_parts(tmp_path / "data", layout), tmp_path / "run"))
    assert rows_of(account) == {TRAINED: (3, 4), HELD_OUT: (1, 2), "split test": (2, 1)}


@pytest.mark.parametrize("layout", ["xml", "yolo"])
def test_data_that_are_divided(tmp_path, layout):
    """Images with errors and those that a division does not name belong to no part."""
    suffix = "xml" if layout == "xml" else "txt"
    root = write_files(tmp_path / "data", "images", "labels", suffix)
    text = xml_of("a") if layout == "xml" else yolo_of("a")
    for name in ("broken", "orphan"):
        write_text(root / f"labels/{name}.{suffix}", text)
    (root / f"labels/broken.{suffix}").write_bytes(b"\xe9 0.5 0.5 0.1 0.1" if layout == "yolo" else b"<annotation>")
    write_text(root / "labels/classes.txt", "cat\ndog\n")
    write_image(root / "images/broken.png")
    config = config_of(root, tmp_path / "run")
    account = account_of(config)
    rows, scenes = rows_of(account), {"annotation without an image": (0, 2), "unusable file": (1, 0)}
    assert scenes.items() <= rows.items()
    assert set(rows) == {TRAINED, HELD_OUT, "split test", *scenes}
    assert_adds_up(account, root, 7 + 2)
    split = tmp_path / "split.json"
    write_text(split, json.dumps({"train": ["a", "b", "d"], "val": ["e"], "test": ["c"]}))
    account = account_of(config_of(root, tmp_path / "run", split_file=str(split)))
    assert rows_of(account) == {
        TRAINED: (3, 4),
        HELD_OUT: (1, 2),
        "split test": (1, 0),
        NO_SPLIT: (1, 1),
        **scenes,
    }


def test_files_of_their_own_and_images_under_two_ids(tmp_path):
    root = write_coco(tmp_path / "coco", "images", "train.json", "abd")
    content = coco_of("abd")
    shutil.copy(root / "images/a.png", root / "images/again.png")
    content["images"].append({"id": 7, "file_name": "again.png"})
    content["annotations"].append({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]})
    write_text(root / "train.json", json.dumps(content))
    write_coco(root, "images", "val.json", "ae")
    config = config_of(root, tmp_path / "run", annotations=str(root / "train.json"))
    account = account_of(replace(config, val=str(root / "val.json")))
    assert rows_of(account) == {TRAINED: (2, 2), HELD_OUT: (3, 2 + 1 + 2), COPY: (0, 2)}
    assert account.total[1:] == (len(image_files(root)), 5 + 4)
    assert account.parts[HELD_OUT].images == 3
    content["images"][-1]["file_name"] = "a.png"
    write_text(root / "train.json", json.dumps(content))
    account = account_of(replace(config, val=str(root / "val.json")))
    assert rows_of(account) == {TRAINED: (2, 2), HELD_OUT: (2, 4), "image listed twice": (0, 3), OTHER: (1, 0)}
    assert_adds_up(account, root, 5 + 4)


def test_images_beyond_the_limit_and_copies(tmp_path):
    root = write_voc(tmp_path / "voc")
    limited = account_of(config_of(root, tmp_path / "run", max_images=2))
    assert rows_of(limited) == {
        TRAINED: (1, 2),
        HELD_OUT: (1, 1),
        "beyond data.max_images": (2, 3),
        "split test": (2, 1),
    }
    assert_adds_up(limited, root, 7)
    (root / "JPEGImages/e.png").write_bytes((root / "JPEGImages/a.png").read_bytes())
    copied = account_of(config_of(root, tmp_path / "run", split="train"))
    assert rows_of(copied) == {TRAINED: (2, 2), HELD_OUT: (1, 2), COPY: (1, 2), "split test": (2, 1)}
    assert_adds_up(copied, root, 7)


def test_an_unused_val_is_a_split_like_others(tmp_path):
    root = write_voc(tmp_path / "voc")
    write_text(root / "Annotations/e.xml", "<annotation></annotation>")
    account = account_of(config_of(root, tmp_path / "run", split="train"))
    assert rows_of(account) == {TRAINED: (2, 3), HELD_OUT: (1, 1), "split val": (1, 0), "split test": (2, 1)}
    assert account.how == "the last image, as val has no objects"
