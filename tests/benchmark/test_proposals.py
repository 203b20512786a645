"""Proposals beside their peers on small images: what is counted, not how long it takes."""

import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from benchmark import proposals
from benchmark.config import BenchmarkConfig
from benchmark.proposals import benchmark_proposals, choose_searches, read_photographs, resize_to_width

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.proposals.selective_search import selective_search

pytestmark = pytest.mark.slow


def test_all_contestants_search_the_same_images(measured, shapes):
    part = measured[0].parts["proposals"]
    values = part.as_dict()
    (row,) = part.rows
    fast, quality = {"sppdet opencv_fast", "sppdet fast", "OpenCV fast"}, {"sppdet opencv_quality", "sppdet quality"}
    assert set(row.timings) - {"dlib"} == fast | quality | {"OpenCV quality"}
    assert all(len(row.timings[name].seconds) == 3 for name in fast)
    assert all(len(row.timings[name].seconds) == 2 for name in quality)
    assert row.timings["OpenCV fast"].seconds == (1000.0,) * 3  # the process's own clock counts
    assert values["ratio_vs_opencv_fast"] == np.median(np.divide(1000, row.timings["sppdet opencv_fast"].seconds))
    assert values["ratio_vs_opencv_quality"] == np.median(np.divide(2000, row.timings["sppdet opencv_quality"].seconds))
    assert (values["images"], values["quality_images"], values["opencv"]) == (3, 2, "0.0")
    assert values["same_boxes_on_all_threads"] is True
    (growth,) = part.growth
    assert growth.unit == "pixels"
    assert growth.seconds["OpenCV fast"] == (1000.0, 1000.0)
    array = read_photographs(DataConfig(root=str(shapes), split="test")).arrays[0]
    assert growth.sizes == tuple(math.prod(resize_to_width(array, width).shape[:2]) for width in (40, 60))


def test_the_boxes_are_evaluated(measured, shapes):
    found = measured[0].parts["proposals"].facts["boxes"]
    dataset = read_dataset(DataConfig(root=str(shapes), split="test"))
    images = [image.read() for image in dataset.images]
    boxes = {
        # the fake's one box of sufficient sides is the whole image
        "OpenCV fast": [torch.tensor([[0.0, 0, image.shape[2], image.shape[1]]]) for image in images],
        "sppdet opencv_fast": [selective_search(image, "opencv_fast", 90, limit=None) for image in images],
    }
    for name in boxes:
        expected = evaluate_proposals(boxes[name], dataset.images, dataset.classes)
        assert found[name]["boxes_per_image"] == expected.boxes_per_image
        assert found[name]["recall"] == expected.recall
        assert found[name]["mabo"] == pytest.approx(expected.mabo, abs=1e-6)
    assert found["OpenCV fast"]["boxes_per_image"] == 1
    assert found["sppdet opencv_fast"]["boxes_per_image_at_7"] == 7
    assert found["sppdet opencv_fast"]["mabo_at_7"] < expected.mabo
    assert found["sppdet quality"]["images"] == 2


@pytest.mark.usefixtures("small_networks")
def test_without_data_photographs_are_searched_without_recall(monkeypatch):
    monkeypatch.delattr(cv2, "ximgproc", raising=False)
    part = benchmark_proposals(DataConfig(), BenchmarkConfig(threads=(1,), widths=(40,), quality_images=1))
    assert (part.facts["images"], part.facts["opencv"]) == (2, None)
    assert math.isnan(part.ratios["ratio_vs_opencv_fast"])
    assert set(part.facts["boxes"]["sppdet fast"]) == {"images", "boxes_per_image"}
    assert [array.shape for array in read_photographs(DataConfig()).arrays] == [(427, 640, 3)] * 2


def test_dlib_takes_part_where_it_is_installed(monkeypatch):
    def find(_array, found):
        found.append(SimpleNamespace(left=lambda: 1, top=lambda: 2, right=lambda: 30, bottom=lambda: 40))

    dlib = ModuleType("dlib")
    dlib.__spec__ = ModuleSpec("dlib", None)
    dlib.find_candidate_object_locations = find  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dlib", dlib)
    assert "dlib" not in choose_searches("quality", None)
    _, boxes = choose_searches("fast", None)["dlib"](np.zeros((50, 60, 3), np.uint8), 1)
    assert boxes.tolist() == [[1, 2, 31, 41]]


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [("sppdet fast", 1, True), ("sppdet fast", 2, False), ("OpenCV fast", 2, True)],  # the peer's may differ
)
def test_boxes_that_depend_on_the_threads_are_seen(name, other, same):
    assert proposals._same_boxes([{name: {0: torch.full((1, 4), float(value))}} for value in (1, other)]) == same
