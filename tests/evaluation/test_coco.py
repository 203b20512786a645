"""COCO's numbers: known scenes, what must not crash, and agreement with our own VOC evaluation."""

from math import isnan

import numpy as np
import pytest
from coco_oracle import pycocotools_numbers
from factories import annotate, detect
from voc_oracle import random_detections, random_images

from sppdet.evaluation import coco
from sppdet.evaluation.coco import METRICS, evaluate_coco
from sppdet.evaluation.voc import Curve, best_from_here, evaluate_voc
from sppdet.structures import Annotations, Detections

CLASSES = ("one", "two", "three")


def test_perfect_detections() -> None:
    boxes = [[0, 0, 20, 20], [50, 50, 100, 100], [100, 0, 300, 200]]
    images = [annotate(boxes, [1, 2, 3], name="x"), annotate([], [], name=7)]
    values = evaluate_coco([detect(boxes, [0.9, 0.8, 0.7], [1, 2, 3]), Detections.empty()], images, CLASSES)
    assert tuple(values) == METRICS
    assert values == pytest.approx(dict.fromkeys(METRICS, 1.0))
    # One object, one detection: with ids from 0 pycocotools would take the match for none.
    assert evaluate_coco([detect(boxes[:1])], [annotate(boxes[:1])], CLASSES)["AP"] == pytest.approx(1)


def test_overlap_of_064_by_hand() -> None:
    """IoU 0.64 passes 3 of the 10 thresholds 0.50, 0.55 ... 0.95."""
    values = evaluate_coco([detect([[0, 0, 50, 32]], [0.5], [1])], [annotate([[0, 0, 50, 50]], [1])], CLASSES)
    assert values["AP"] == pytest.approx(0.3)
    assert values["AP50"] == pytest.approx(1)
    assert values["AP75"] == 0
    assert values["AP_medium"] == pytest.approx(0.3)
    assert isnan(values["AP_small"])
    assert isnan(values["AP_large"])


def test_no_detections_is_zero_and_nothing_is_printed(capsys) -> None:
    values = evaluate_coco([Detections.empty()], [annotate([[0, 0, 50, 50]], [1])], CLASSES)
    assert values["AP"] == values["AR_100"] == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("images", [[], [annotate([], [])]])
def test_no_objects_is_nan(images) -> None:
    values = evaluate_coco([Detections.empty() for _ in images], images, CLASSES)
    assert all(isnan(value) for value in values.values())


def test_difficult_objects_are_not_judged() -> None:
    boxes = [[0, 0, 50, 50], [100, 100, 150, 150]]
    image = annotate(boxes, [1, 1], difficult=[False, True])
    on_both = evaluate_coco([detect(boxes[::-1], [0.9, 0.8], [1, 1])], [image], CLASSES)
    on_easy = evaluate_coco([detect(boxes[:1], [0.8], [1])], [image], CLASSES)
    assert on_both["AR_10"] == on_easy["AR_10"] == pytest.approx(1)
    assert on_both["AP"] == pytest.approx(1)
    counted = evaluate_coco([detect(boxes[:1], [0.8], [1])], [annotate(boxes, [1, 1])], CLASSES)
    assert counted["AP"] < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_ap50_agrees_with_our_area(seed) -> None:
    """COCO samples the same curve at 101 recalls and differs otherwise only where objects of a class overlap."""
    rng, classes = np.random.default_rng(seed), (*CLASSES, "four")
    images = random_images(rng, 300)
    detections = random_detections(rng, images)
    ours = evaluate_voc(detections, images, classes)
    theirs = evaluate_coco(detections, images, classes)
    assert 0.2 < ours.map_area < 0.9
    assert theirs["AP50"] == pytest.approx(ours.map_area, abs=0.02)
    at_075 = evaluate_voc(detections, images, classes, iou=0.75)
    assert theirs["AP75"] == pytest.approx(at_075.map_area, abs=0.02)


def separate_scene(count: int, seed: int) -> tuple[list[Detections], list[Annotations]]:
    """Objects in cells of their own, some difficult, with jittered, doubled and missing detections and tied scores.

    So no detection can match two objects, and both matchings are the same. Detections of difficult objects lie close,
    as pycocotools measures overlap with a crowd otherwise.
    """
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(range(4), range(4)), axis=-1).reshape(-1, 2) * 150.0
    images, detections = [], []
    for i in range(count):
        n = rng.integers(0, 7)
        low = cells[rng.permutation(16)[:n]] + rng.uniform(30, 50, (n, 2))
        boxes = np.concatenate([low, low + rng.uniform(40, 70, (n, 2))], axis=1)
        labels, difficult = rng.integers(1, 4, n), rng.random(n) < 0.2
        copied = np.repeat(np.arange(n), rng.integers(0, 4, n))
        size = np.tile(boxes[copied, 2:] - boxes[copied, :2], 2)
        spread = np.where(difficult[copied], 0.01, 0.08)[:, None]
        found = boxes[copied] + rng.normal(0, 1, (len(copied), 4)) * spread * size
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        confused = np.where(rng.random(len(copied)) < 0.2, rng.integers(1, 4, len(copied)), labels[copied])
        images.append(annotate(boxes, labels, difficult.tolist(), f"image {i}"))
        detections.append(detect(found, rng.normal(0.5, 0.5, len(copied)).round(1), confused))
    return detections, images


def average_precision_101_points(curve: Curve) -> float:
    """pycocotools' sampling of a curve: the best precision from each recall 0, 0.01 ... 1 on, 0 where not reached."""
    places = np.searchsorted(curve.recall, np.linspace(0, 1, 101))
    return float(np.append(best_from_here(curve.precision), 0)[places].mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("iou", "name"), [(0.5, "AP50"), (0.75, "AP75")])
def test_curves_are_those_of_pycocotools(seed, iou, name) -> None:
    """Where no detection overlaps two objects of its class, only the sampling of the curves is another."""
    detections, images = separate_scene(150, seed)
    curves = evaluate_voc(detections, images, CLASSES, iou).curves.values()
    theirs = evaluate_coco(detections, images, CLASSES)[name]
    assert 0.1 < theirs < 0.8
    assert any(len(np.unique(curve.scores)) < len(curve.scores) / 3 for curve in curves)
    assert theirs == pytest.approx(np.mean([average_precision_101_points(curve) for curve in curves]), abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_numbers_are_those_of_pycocotools_bit_for_bit(seed, monkeypatch) -> None:
    """Crowds, tied scores, several detections of an object and more than 100 in an image are among them."""
    monkeypatch.setattr(coco, "IMAGES", (7, 1000)[seed // 3])
    rng = np.random.default_rng(seed)
    images = random_images(rng, 60)
    detections = random_detections(rng, images)
    if seed % 2:
        detections, images = separate_scene(60, seed)
        images.append(annotate([[5, 5, 60, 60]], [2], [seed == 3], "crowded"))
        detections.append(
            detect(np.add(rng.uniform(0, 30, (150, 4)), [0, 0, 40, 40]), rng.random(150).round(2), [2] * 150)
        )
    theirs = pycocotools_numbers(detections, images, (*CLASSES, "four"))
    for name, value in evaluate_coco(detections, images, (*CLASSES, "four")).items():
        assert value == theirs[name] or (isnan(value) and isnan(theirs[name])), name
