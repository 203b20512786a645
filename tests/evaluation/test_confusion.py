"""The confusion matrix, worked out by hand."""

import numpy as np
import pytest
from factories import annotate, detect

from sppdet.errors import InputError
from sppdet.evaluation.confusion import confusion_matrix

CLASSES = ("cat", "dog")
A, B, C = ([x, 0, x + 10, 10] for x in (0, 100, 200))
FAR = [900, 900, 910, 910]


def matrix(found, image) -> list[list[int]]:
    return confusion_matrix([found], [image], CLASSES).tolist()


@pytest.mark.parametrize(
    ("found", "image", "counts"),
    [
        (detect(), annotate(), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        # A cat found, a dog taken for a cat, a cat missed, and a dog where there is nothing.
        (detect([A, B, FAR], labels=[1, 1, 2]), annotate([A, B, C], [1, 2, 1]), [[0, 0, 1], [1, 1, 0], [0, 1, 0]]),
        # A second detection of an object is one of none, whatever its class.
        (detect([A, A, A], labels=[1, 1, 2]), annotate([A], [1]), [[0, 1, 1], [0, 1, 0], [0, 0, 0]]),
        # The best detection takes the object of another class.
        (detect([A, A], [0.2, 0.9], [1, 1]), annotate([A], [2]), [[0, 1, 0], [0, 0, 0], [0, 1, 0]]),
        # Where two objects overlap, each has the detection of its class.
        (detect([A, A], labels=[2, 1]), annotate([A, A], [1, 2]), [[0, 0, 0], [0, 1, 0], [0, 0, 1]]),
        # IoU 0.5 is enough, less is not.
        (detect([[0, 0, 10, 5]], labels=[2]), annotate([A], [1]), [[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
        (detect([[0, 0, 10, 4.9]], labels=[2]), annotate([A], [1]), [[0, 0, 1], [1, 0, 0], [0, 0, 0]]),
        # A difficult object and its match count nowhere; a detection of another class on it is one of nothing.
        (detect([A]), annotate([A], [1], [True]), [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (detect([A], labels=[2]), annotate([A], [1], [True]), [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_counts(found, image, counts) -> None:
    assert matrix(found, image) == counts


def test_images_are_added_up_and_apart() -> None:
    found, images = [detect([A]), detect()], [annotate(), annotate([A])]
    assert confusion_matrix(found, images, CLASSES).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert np.array_equal(
        confusion_matrix(found * 2, images * 2, CLASSES), 2 * confusion_matrix(found, images, CLASSES)
    )


def test_wrong_input() -> None:
    with pytest.raises(InputError):
        confusion_matrix([detect()], [], CLASSES)
    with pytest.raises(InputError):
        confusion_matrix([detect()], [annotate()], CLASSES, 0)
