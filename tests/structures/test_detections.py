import numpy as np
import pytest
import torch
from factories import as_boxes, detect, image_file, random_image

from sppdet.errors import InputError
from sppdet.structures import Detections

BOXES = as_boxes([[0, 1, 5, 6], [2, 2, 2, 9]])
CLASSES = ("cat", "dog", "bird")


def test_detections_index_iterate_convert_and_move_to_a_device():
    detections = Detections(BOXES, torch.tensor([1, 2]), torch.tensor([0.9, 0.5]), CLASSES)
    assert len(detections) == 2
    assert detections[detections.scores > 0.6].labels.tolist() == [1]
    assert detections[1:].boxes.tolist() == [[2, 2, 2, 9]]
    assert detections[1:].names == ["dog"]
    assert set(detections.as_dict()) == {"boxes", "labels", "scores"}
    assert len(Detections.empty()) == 0
    with pytest.raises(InputError, match="scores"):
        Detections(BOXES, torch.tensor([1, 2]), torch.tensor([0.9]))
    moved = Detections(BOXES, torch.tensor([1, 2]), torch.tensor([0.9, 0.5]), CLASSES).to("cpu")
    assert (moved.boxes.device.type, moved.classes) == ("cpu", CLASSES)
    rows = [(box.tolist(), label, score) for box, label, score in detect(BOXES, [0.75, 0.5], [1, 2])]
    assert rows == [([0, 1, 5, 6], 1, 0.75), ([2, 2, 2, 9], 2, 0.5)]
    assert list(Detections.empty()) == []


def test_a_repr_is_short_and_names_the_classes():
    many = Detections(BOXES[[0] * 7], torch.tensor([2, 1, 1, 3, 1, 1, 1]), torch.arange(7, 0, -1) / 8, CLASSES)
    assert repr(many) == "Detections(7: dog 0.88, cat 0.75, cat 0.62, bird 0.50, cat 0.38, …)"
    assert repr(detect(BOXES[:1], [-0.001], [12])) == "Detections(1: class 12 0.00)"
    assert repr(Detections.empty()) == "Detections(0)"


def test_a_threshold_is_one_number_or_one_per_class():
    detections = detect(BOXES[[0] * 4], [0.9, 0.5, 0.5, 0.1], [1, 1, 2, 2])
    assert detections.above(0.5).scores.tolist() == pytest.approx([0.9, 0.5, 0.5])
    assert detections.above(torch.tensor([0.6, 0.5])).labels.tolist() == [1, 2]
    assert len(detections.above(torch.tensor(2.0))) == 0
    assert len(Detections.empty().above(torch.zeros(2))) == 0
    with pytest.raises(InputError, match=r"labels: label of no class \(expected 1\.\.1, got 2\)"):
        detections.above(torch.tensor([0.5]))


def test_detections_are_drawn_on_a_file_or_pixels(tmp_path):
    image = random_image(60, 80)
    array = image.permute(1, 2, 0).numpy()
    detections = detect([[10, 20, 40, 50]], [0.5], [3])
    drawn = detections.draw(image_file(tmp_path / "image.png", 60, 80))
    assert drawn.size == (80, 60)
    assert np.array_equal(drawn, detections.draw(image))
    assert not np.array_equal(drawn, array)
    assert np.array_equal(Detections.empty().draw(array), array)
