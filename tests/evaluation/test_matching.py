"""Matches worked out by hand; test_devkit.py holds the curves that follow from them against the devkit's loop."""

import numpy as np
import pytest
from factories import annotate, detect

from sppdet.evaluation.matching import match_classes
from sppdet.structures import Detections

UNIT = [0, 0, 10, 10]
FAR = [100, 100, 110, 110]
NOWHERE = [50, 50, 60, 60]


def test_matches_by_hand() -> None:
    """The difficult object of the second image is matched twice, and another class stands in both."""
    images = [
        annotate([FAR, UNIT, NOWHERE], labels=[2, 1, 1], name="a"),
        annotate([UNIT, FAR, UNIT], labels=[1, 2, 2], difficult=[True, False, False], name="b"),
    ]
    detections = [
        detect([FAR, UNIT, UNIT], [0.9, 0.5, 0.75], labels=[1, 1, 1]),
        detect([FAR, UNIT, UNIT, NOWHERE], [0.9, 0.5, 0.25, 0.5], labels=[2, 1, 1, 1]),
    ]
    matches = next(match_classes(detections, images, 1))
    columns = (matches.scores, matches.images, matches.detections, matches.objects)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        (np.float32(0.9), 0, 0, -1),
        (0.75, 0, 2, 1),
        (0.5, 0, 1, 1),
        (0.5, 1, 1, 0),
        (0.5, 1, 3, -1),
        (0.25, 1, 2, 0),
    ]
    assert matches.correct.tolist() == [False, True, False, False, False, False]
    assert matches.ignored.tolist() == [False, False, False, True, False, True]
    assert matches.positives == 2


@pytest.mark.parametrize("images", [0, 1])
def test_matches_of_nothing(images) -> None:
    matches = next(match_classes([Detections.empty()] * images, [annotate([])] * images, 1))
    for name in ("scores", "images", "detections", "objects", "correct", "ignored"):
        assert getattr(matches, name).shape == (0,)
    assert (matches.images.dtype, matches.correct.dtype, matches.positives) == (np.int64, np.bool_, 0)
