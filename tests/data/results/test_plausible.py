"""What is said about detections that cannot be right."""

import json

import pytest
import torch

from sppdet.data.results.files import read_results
from sppdet.errors import DataError
from sppdet.structures import Annotations, Dataset


def own_images(count: int) -> Dataset:
    """Images of 160 x 120 with ids from 5 down, each with a disc and a box."""
    images, size = [], (3, 120, 160)
    for i in range(count):
        boxes = torch.tensor([[20.0, 30, 60, 70], [100 + i, 40, 140 + i, 90]])
        images.append(Annotations(torch.zeros(size, dtype=torch.uint8), boxes, torch.tensor([1, 2]), id=5 - i))
    return Dataset("own", ("disc", "box"), images, (1, 2))


def entries_of(dataset: Dataset) -> list[dict]:
    return [
        {"image_id": image.id, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 0.9}
        for image in dataset.images
        for (x1, y1, x2, y2), label in zip(image.boxes.tolist(), image.labels.tolist(), strict=True)
    ]


OWN = own_images(3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one, []),
        (lambda one: one | {"bbox": [one["bbox"][0] + 30, *one["bbox"][1:]]}, ["none of the best 6 detections fits"]),
        (
            lambda one: one | {"category_id": 3 - one["category_id"]},
            [
                "none of the best 6 detections fits an object of its class; other images?",
                "class disc: none of the best 3 detections fits an object of it, 3 fit one of box; exchanged?",
                "class box: none of the best 3 detections fits an object of it, 3 fit one of disc; exchanged?",
            ],
        ),
        (
            lambda one: (
                one
                | {"bbox": [*one["bbox"][:2], *(a + b for a, b in zip(one["bbox"][:2], one["bbox"][2:], strict=True))]}
            ),
            ["3 of 6 boxes reach beyond their images; corners in place of sides?", "none of the best 6"],
        ),
        (
            lambda one: one | {"bbox": [2 * x for x in one["bbox"]]},
            ["6 of 6 boxes reach beyond their images; of another size?", "none of the best 6"],
        ),
        (lambda one: one | {"bbox": [*one["bbox"][:3], 0.5]}, ["6 of 6 boxes are under a pixel", "none of the best 6"]),
    ],
)
def test_detections_that_cannot_be_right_are_said(change, said, tmp_path, caplog) -> None:
    (tmp_path / "out.json").write_text(json.dumps([change(entry) for entry in entries_of(OWN)]))
    read_results(tmp_path / "out.json", OWN)
    assert len(caplog.messages) == len(said)
    assert all(part in message for part, message in zip(said, caplog.messages, strict=True))


def test_classes_without_detections_are_said(tmp_path, caplog) -> None:
    (tmp_path / "out.json").write_text(json.dumps([one for one in entries_of(OWN) if one["category_id"] == 1]))
    read_results(tmp_path / "out.json", OWN)
    assert [message.split(": ", 1)[1] for message in caplog.messages] == ["no detections of 1 class with objects: box"]


def test_fractions_that_reach_beyond_their_image_are_an_error(tmp_path) -> None:
    entries = [one | {"bbox": [-0.004, 0.5, 0.3, 0.504]} for one in entries_of(OWN)]
    (tmp_path / "out.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match="boxes are fractions"):
        read_results(tmp_path / "out.json", OWN)


def test_corners_that_are_rounded_at_the_border_are_said(tmp_path, caplog) -> None:
    """In float32, 50.1 + 120 - 50.1 is more than 120."""
    entries = [one | {"bbox": [33.3, 50.1, 160.0, 120.0]} for one in entries_of(OWN)]
    (tmp_path / "out.json").write_text(json.dumps(entries))
    read_results(tmp_path / "out.json", OWN)
    assert "corners in place of sides?" in caplog.messages[0]


def test_fractions_and_boxes_of_other_images_are_errors(tmp_path) -> None:
    scales = torch.tensor([160.0, 120, 160, 120])
    entries = entries_of(OWN)
    for entry in entries:
        entry["bbox"] = (torch.tensor(entry["bbox"]) / scales).tolist()
    (tmp_path / "out.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"out\.json: boxes are fractions .*x y width height, got 0\.125, 0\.25, 0\.25"):
        read_results(tmp_path / "out.json", OWN)
    (tmp_path / "comp4_det_test_disc.txt").write_text("5 0.9 0.13 0.25 0.375 0.58\n4 0.8 0.5 0 1 1\n")
    with pytest.raises(
        DataError, match=r"boxes are fractions of their images, not pixels .expected pixels, x1 y1 x2 y2"
    ):
        read_results(tmp_path, OWN)
    (tmp_path / "comp4_det_test_disc.txt").write_text("5 0.9 1600 20 1700 50\n4 0.8 1 130 20 150\n")
    with pytest.raises(DataError, match="boxes outside their images"):
        read_results(tmp_path, OWN)
