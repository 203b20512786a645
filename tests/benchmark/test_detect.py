"""Detection in both modes on small images: who is given what, and how times add up."""

import numpy as np
import pytest
import torch
from benchmark import bound, detect
from benchmark.config import BenchmarkConfig
from benchmark.detect import describe_scenes, time_modes
from benchmark.scenes import Scene, find_scenes, random_detector, time_stages
from factories import random_image, watch

from sppdet.comparison.timing import random_boxes
from sppdet.config.data import DataConfig
from sppdet.detector import Detector
from sppdet.runtime.stopwatch import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_networks")]
CONFIG = BenchmarkConfig(regions=6, detect_rounds=2)


@pytest.fixture
def scene() -> Scene:
    return Scene(random_image(60, 80), random_boxes((60, 80), 10), 0)


def test_the_part_holds_ratios_rows_and_growth(measured):
    part = measured[0].parts["detect"]
    assert set(part.ratios) == {*detect.RATIOS, "rcnn_crops_vs_bare"}
    timings = part.rows[0].timings
    for mode in ("sppdet", "R-CNN"):
        stages = [timings[f"{mode} {stage}"].seconds for stage in STAGES[1:]]
        assert timings[f"{mode} without proposals"].seconds == pytest.approx(np.sum(stages, axis=0))
        total = np.add(timings[f"{mode} without proposals"].seconds, timings["proposals"].seconds)
        assert timings[f"{mode} total"].seconds == pytest.approx(total)
    regions, pixels = part.growth
    assert (regions.sizes, set(regions.seconds)) == ((5, 8), {"sppdet", "R-CNN"})
    assert (len(pixels.sizes), set(pixels.seconds)) == (2, {"sppdet"})
    assert (part.facts["images"], part.facts["regions"]) == (2, 8)
    assert part.facts["crops"]["1 thread"]["bare_best_batch"] == 2
    assert set(part.facts["seconds_shapenet"]["bound crop"]) == {"conv", "products", "copy"}


def test_both_modes_take_turns_on_the_same_regions(scene, monkeypatch):
    calls = []

    def recorded(detector: Detector, given: Scene, passes: int = 1) -> dict[str, float]:
        calls.append((detector.config.features, len(given.boxes), passes))
        return {"conv": 1.0}

    monkeypatch.setattr(detect, "time_stages", recorded)
    monkeypatch.setattr(detect, "PASSES", 4)
    spp = random_detector(scene, "shapenet")
    time_modes(spp, spp.with_features("crop"), [scene, scene.first(9)], 2, "detect")
    assert calls[:2] == [("spp", 10, 4), ("crop", 3, 1)]  # R-CNN mode warms up on few crops
    assert sorted(calls[2:]) == [("crop", 9, 1), ("crop", 10, 1), ("spp", 9, 4), ("spp", 10, 4)]


def test_images_come_from_the_data_or_are_photographs(shapes):
    data = DataConfig(root=str(shapes), split="test", max_images=1)
    assert [len(scene.boxes) for scene in find_scenes(data, CONFIG)] == [6]
    assert [scene.image.shape for scene in find_scenes(DataConfig(), CONFIG)] == [(3, 427, 640)] * 2


def test_windows_that_are_pooled_once_count_as_saved(scene):
    spp = random_detector(scene, "shapenet")
    doubled = Scene(scene.image, scene.boxes.repeat(2, 1), 3)
    facts = describe_scenes(spp, [doubled])
    distinct = describe_scenes(spp, [scene])["windows_saved"]
    assert facts["windows_saved"] == pytest.approx(0.5 + distinct / 2)
    assert facts["random_regions"] == 3


def test_random_detectors_score_most_regions_above_the_least(scene):
    spp = random_detector(scene, "shapenet", depth=1)
    assert len(spp.layers) == 1
    facts = describe_scenes(spp, [scene])
    assert 0.6 < facts["candidates"] / (10 * detect.CLASSES) < 1
    assert 0 < facts["detections"] <= facts["candidates"]


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_the_bound_has_the_detectors_own_input(scene, features):
    detector = random_detector(scene, "shapenet").with_features(features)
    given = []
    with detector.backbone.register_forward_pre_hook(lambda _module, args: given.append(args[0].clone())):
        time_stages(detector, scene)
    inputs = bound.prepare_inputs(detector, scene)
    assert len(inputs) == len(given)
    assert all(one.equal(other) for one, other in zip(inputs, given, strict=True))
    assert inputs[0].stride() == given[0].stride()


def test_the_bound_multiplies_as_many_rows_by_matrices_of_the_same_shapes(scene, monkeypatch):
    detector = bound.as_truncated(random_detector(scene, "shapenet", 1))
    doubled = Scene(scene.image, scene.boxes.repeat(2, 1), 0)
    rows = len(detector.extractor.encode(scene.image).unique_windows(scene.boxes)[0])
    products = watch(monkeypatch, torch, "mm")
    assert set(bound.bound_run(detector, doubled)(0)) == {"conv", "products", "copy"}
    expected = [(rows, 96 * 50, 8), (rows, 8, 32), (rows, 32, 5 * detect.CLASSES)]
    assert [(*a.shape, b.shape[1]) for a, b in products] == expected


def test_truncated_layers_have_the_shapes_of_truncated_svd(scene):
    detector = random_detector(scene, "shapenet", 1)
    small = Detector.truncated(detector, bound.RANKS).layers.linears
    random = bound.as_truncated(detector).layers.linears
    shapes = [[[linear.weight.shape for linear in layer] for layer in layers] for layers in (random, small)]
    assert shapes[0] == shapes[1]
