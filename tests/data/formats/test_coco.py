"""COCO format: what is read of images, objects and categories."""

import json

import pytest
import torch
from contracts import assert_dataset
from data_sets import read_coco_content as read

from sppdet.data.formats.coco import read_coco
from sppdet.errors import DataError


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
    with pytest.raises(DataError, match=r"annotations\[0\]\.category_id: unknown class .*.expected car, got dog"):
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
    fields = [f"some.json: annotations[{len(content['annotations']) - n}]: box" for n in (4, 3, 2, 1)]
    assert all(sum(field in message for message in caplog.messages) == 1 for field in fields)


@pytest.mark.parametrize("kind", [str, float])
def test_ids_may_be_text_or_have_a_fraction_of_0(images, content, kind):
    expected = read(images, content)
    for key, fields in {"images": ["id"], "categories": ["id"], "annotations": ["image_id", "category_id"]}.items():
        for record in content[key]:
            record.update({field: kind(record[field]) for field in fields})
    found = read(images, content)
    assert found.category_ids == expected.category_ids
    for one, other in zip(found.images, expected.images, strict=True):
        assert (one.id, one.boxes.tolist(), one.labels.tolist()) == (
            other.id,
            other.boxes.tolist(),
            other.labels.tolist(),
        )


def test_ids_of_images_may_be_any_text(images, content):
    for record in content["images"]:
        record["id"] = f"0{record['id']:x}"
    for record in content["annotations"]:
        record["image_id"] = f"0{record['image_id']:x}"
    assert [image.id for image in read(images, content).images] == ["02a", "07", "09"]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [
        *((value, False) for value in ("0", "false", False, 0.0, None, "")),
        *((value, True) for value in ("1", "true", 1.0)),
    ],
)
def test_iscrowd_may_be_text(images, content, value, crowd):
    content["annotations"][1]["iscrowd"] = value
    assert read(images, content).images[0].difficult.tolist() == [crowd]


def test_an_iscrowd_that_is_neither_is_said(images, content, caplog):
    content["annotations"][1]["iscrowd"] = "some"
    assert read(images, content).images[0].difficult.tolist() == [False]
    assert "some.json: annotations[1].iscrowd: neither 0 nor 1 but 'some'" in caplog.text


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[10, 20, 40, 20, 30, 60.5]], [10, 20, 40, 60.5]),
        ([[10, 20, 20, 30, 10, 30], [30, 40, 35, 50, 30, 50]], [10, 20, 35, 50]),
        ([10, 20, 40, 20, 30, 60], [10, 20, 40, 60]),
        ({"size": [80, 100], "counts": [80 * 10 + 20, 5, 75, 5, 80 * 88 - 25]}, [10, 20, 12, 25]),
    ],
)
@pytest.mark.parametrize("bbox", [..., None, []])
def test_without_a_box_the_segmentation_gives_it(images, content, segmentation, box, bbox):
    del content["annotations"][0]["bbox"]
    if bbox is not ...:
        content["annotations"][0]["bbox"] = bbox
    content["annotations"][0]["segmentation"] = segmentation
    assert read(images, content).images[1].boxes[0].tolist() == box


def test_a_root_category_without_objects_is_no_class(images, content):
    content["categories"].append({"id": 0, "name": "things", "supercategory": "none"})
    for record in content["categories"][:3]:
        record["supercategory"] = "things"
    assert read(images, content).classes == ("car", "dog", "toothbrush")
    content["annotations"][0]["category_id"] = 0
    assert read(images, content).classes == ("things", "car", "dog", "toothbrush")


@pytest.mark.parametrize("form", ["sub\\{}", "/data/1/sub/{}", "http://host/sub/{}", "./sub/{}", "{}"])
def test_images_are_found_by_names_of_other_systems(images, content, form):
    content["images"][1]["file_name"] = form.format("a.jpg")
    assert read(images, content).images[1].path == images / "sub/a.jpg"


def test_one_image_is_not_taken_for_two_of_its_name(images, content):
    content["images"][0]["file_name"] = "other/a.jpg"
    with pytest.raises(
        DataError, match=r"images/sub/a\.jpg: image file not found, unless it is .*sub/a\.jpg, which other"
    ):
        read(images, content)


def test_a_byte_order_mark_and_utf_16(images, content):
    path = images.parent / "some.json"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(json.dumps(content).encode(encoding))
        assert len(read_coco(images, path)) == 3
