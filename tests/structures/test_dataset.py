import copy
import json
from operator import itemgetter

import pytest
import torch
from contracts import assert_dataset
from data_sets import COCO
from factories import annotate, random_image
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import CocoDetection, FakeData, VOCDetection
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from sppdet.data.formats.coco import read_coco
from sppdet.data.formats.voc import read_voc
from sppdet.errors import DataError, InputError
from sppdet.structures import Annotations, Dataset

CLASSES = ("cat", "dog")


@pytest.fixture
def dataset() -> Dataset:
    """Three images in memory; the second object of the first is difficult, and the last has none."""
    boxes, labels = torch.tensor([[10.0, 20, 40, 60], [5, 5, 30, 70]]), torch.tensor([2, 1])
    difficult = torch.tensor([False, True])
    return Dataset(
        "own",
        ["cat", "dog"],
        [
            Annotations(random_image(80, 100, 0), boxes, labels, difficult),
            Annotations(random_image(90, 70, 1), boxes[:1], labels[:1], id=17),
            Annotations(random_image(60, 60, 2), boxes[:0], labels[:0]),
        ],
    )


def test_a_data_set_numbers_its_categories_and_takes_subsets():
    dataset = Dataset("set", CLASSES, tuple(annotate([[0, 1, 5, 6]], name=name) for name in "abc"))
    assert dataset.category_ids == (1, 2)
    assert repr(dataset) == "Dataset(set: 3 images, 3 objects, 2 classes)"
    assert Dataset("coco", CLASSES, (), (17, 18)).category_ids == (17, 18)
    part = dataset.subset([2, 0])
    assert [image.id for image in part.images] == ["c", "a"]
    assert (part.name, part.classes, len(part)) == ("set", CLASSES, 2)


def test_an_item_is_an_image_and_its_target_as_in_torchvision_whose_models_train_on_a_data_set(dataset):
    image, target = dataset[0]
    assert torch.equal((image * 255).round().to(torch.uint8), dataset.images[0].read())
    assert (image.dtype, image.min() >= 0, image.max() <= 1) == (torch.float32, True, True)
    assert target["boxes"].tolist() == [[10, 20, 40, 60], [5, 5, 30, 70]]
    assert (target["labels"].tolist(), target["area"].tolist()) == ([2, 1], [1200, 1625])
    assert (target["iscrowd"].tolist(), target["iscrowd"].dtype) == ([0, 1], torch.int64)
    assert [target["image_id"] for _, target in dataset] == [0, 17, 2]
    assert dataset[-1][1]["image_id"] == 2
    with pytest.raises(IndexError):
        dataset[3]
    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3)
    (batch,) = DataLoader(dataset, batch_size=3, collate_fn=lambda pairs: tuple(zip(*pairs, strict=True)))
    losses = model(*batch)
    assert all(loss.isfinite() for loss in losses.values())


def assert_same(converted: Dataset, read: Dataset) -> None:
    assert_dataset(converted)
    assert (converted.classes, converted.category_ids) == (read.classes, read.category_ids)
    assert [image.id for image in converted.images] == [image.id for image in read.images]
    for ours, theirs in zip(converted.images, read.images, strict=True):
        assert ours.path == theirs.path
        assert torch.equal(ours.boxes, theirs.boxes)
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.difficult, theirs.difficult)


@pytest.mark.shared
def test_voc_of_torchvision_is_the_same_data_set(shared):
    source = VOCDetection(shared / "voc", "2007", "test")
    converted = Dataset.from_torchvision(source)
    assert converted.name == "VOC2007"
    assert_same(converted, read_voc(shared / "voc", "test"))
    with pytest.raises(DataError, match=r"\.xml: image .*: unknown class \(expected cat or dog, got "):
        Dataset.from_torchvision(source, CLASSES)


@pytest.mark.parametrize("classes", [None, ["dog", "car"]])
def test_coco_of_torchvision_is_the_same_data_set(tmp_path, classes):
    content = copy.deepcopy(COCO)
    content["images"].sort(key=itemgetter("id"))  # as torchvision does
    content["annotations"].append({"id": 4, "image_id": 7, "category_id": 3, "bbox": [50, 40, 0, 30]})
    (tmp_path / "sub").mkdir()
    for record in content["images"]:
        Image.new("RGB", (100, 80)).save(tmp_path / record["file_name"])
    file = tmp_path / "some.json"
    file.write_text(json.dumps(content))
    source = CocoDetection(tmp_path, file)
    assert_same(Dataset.from_torchvision(source, classes), read_coco(tmp_path, file, classes))
    with pytest.raises(DataError, match="class not in the file"):
        Dataset.from_torchvision(source, ["cat"])


def test_labels_without_a_class_and_other_data_sets_are_refused():
    image = Annotations(random_image(20, 30), torch.zeros(1, 4), torch.tensor([2]), id="a")
    with pytest.raises(InputError, match=r"labels of image a: label of no class \(expected 1\.\.1, got 2\)"):
        Dataset("mine", ("dog",), (image,))
    with pytest.raises(InputError, match=r"expected VOCDetection or CocoDetection, got FakeData"):
        Dataset.from_torchvision(FakeData(1))
