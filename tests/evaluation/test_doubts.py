import pytest
import torch
from factories import annotate, detect

from sppdet.errors import InputError
from sppdet.evaluation.doubts import find_doubts

BOX, FAR = [0, 0, 100, 100], [200, 200, 300, 300]
HALF = [0, 0, 100, 50]  # IoU 0.5 with BOX
NEAR = [0, 0, 100, 90]  # IoU 0.9


def doubts(detections, image) -> list[tuple]:
    found = find_doubts([detect(), detections], [annotate(), image], ("cat", "dog"))
    assert all(doubt.image == 1 for doubt in found)
    return [(doubt.kind, doubt.detection, doubt.object, pytest.approx(doubt.iou)) for doubt in found]


@pytest.mark.parametrize(
    ("boxes", "labels", "expected"),
    [
        ([NEAR], [1], []),
        ([HALF], [1], [("loose box", 0, 0, 0.5)]),
        ([HALF, NEAR], [1, 1], []),  # another detection agrees
        ([HALF, HALF], [1, 1], [("loose box", 0, 0, 0.5)]),  # once
        ([[0, 0, 100, 20]], [1], []),  # a part of the object
        ([NEAR], [2], [("wrong class", 0, 0, 0.9)]),
        ([NEAR, NEAR], [2, 1], []),
        ([[0, 0, 100, 40]], [2], []),
        ([FAR], [1], [("missing box", 0, None, 0.0)]),
        ([FAR, NEAR, [0, 0, 100, 40]], [2, 2, 1], [("missing box", 0, None, 0.0), ("wrong class", 1, 0, 0.9)]),
        ([], [], []),
    ],
)
def test_what_confident_detections_contradict(boxes, labels, expected):
    assert doubts(detect(boxes, labels=labels), annotate([BOX])) == expected


def test_difficult_objects_are_not_doubted_and_empty_images_may_lack_boxes():
    assert doubts(detect([NEAR, HALF], labels=[2, 1]), annotate([BOX], difficult=[1])) == []
    assert doubts(detect([BOX]), annotate()) == [("missing box", 0, None, 0.0)]


def test_wrong_input_is_refused():
    with pytest.raises(InputError):
        find_doubts([detect()], [], ("cat",))
    with pytest.raises(InputError):
        find_doubts([detect([BOX], labels=torch.tensor([3]))], [annotate()], ("cat",))
