"""Records that do not fit each other, and options out of range, in every evaluation."""

from math import nan

import pytest
import torch
from factories import annotate, detect

from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import bootstrap_map
from sppdet.evaluation.coco import evaluate_coco
from sppdet.evaluation.diagnose import diagnose
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.evaluation.voc import evaluate_voc

UNIT = [0, 0, 10, 10]
IMAGES = [annotate([UNIT])]


@pytest.mark.parametrize("evaluate", [evaluate_voc, bootstrap_map, diagnose, evaluate_coco])
@pytest.mark.parametrize(
    ("detections", "images", "message"),
    [
        ([], IMAGES, "expected 1 entry, got 0"),
        ([detect([UNIT], labels=[2])], IMAGES, "expected 1..1, got 2"),
        ([detect([UNIT], labels=[0])], IMAGES, "expected 1..1, got 0"),
        ([detect()], [annotate([UNIT], labels=[3])], "annotations of image a"),
        ([detect([UNIT], [nan])], IMAGES, "scores of image a"),
    ],
)
def test_records_that_do_not_fit_are_named(evaluate, detections, images, message) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(detections, images, ["thing"])


@pytest.mark.parametrize(
    ("evaluate", "options", "message"),
    [
        (evaluate_voc, {"iou": 0}, "iou"),
        (bootstrap_map, {"iou": 0}, "iou"),
        (bootstrap_map, {"resamples": -1}, "resamples: .*got -1"),
        (
            diagnose,
            {"similar": [["cat", "cta"]]},
            "similar: no such class .expected cat or dog, got cta.: did you",
        ),
    ],
)
def test_options_out_of_range_are_named(evaluate, options, message) -> None:
    with pytest.raises(InputError, match=message):
        evaluate([detect()], IMAGES, ["cat", "dog"], **options)


@pytest.mark.parametrize(
    ("proposals", "message"), [([torch.zeros(3, 5)], "proposals of image a"), ([], "expected 1 entry")]
)
def test_wrong_proposals_are_named(proposals, message) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_proposals(proposals, IMAGES, ["one"])
