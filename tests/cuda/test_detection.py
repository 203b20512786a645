"""Heads, non-maximum suppression, detection, saved detectors, and memory."""

from dataclasses import replace

import pytest
import torch
from contracts import assert_close_rows, assert_detections
from explanation.test_evidence import KINDS, a_detector
from factories import CLASSES, TINY, random_detector, random_image, random_maps

from sppdet.boxes import box_iou, clip_boxes, decode_boxes, nms
from sppdet.comparison.timing import random_boxes
from sppdet.config.detector import SelectionConfig, SPPConfig
from sppdet.config.network import FCConfig
from sppdet.detector import Detector
from sppdet.heads.calibration import Calibration
from sppdet.postprocess import select
from sppdet.structures import Detections
from sppdet.tiles import detect_tiled

SIZE = (120, 160)


def assert_near(found: Detections, expected: Detections, tolerance: float = 0.02) -> None:
    """The best detections of one are among those of the other: the same class, place and score up to rounding.

    Which of two boxes with nearly equal scores suppresses the other is left to rounding, so not all are compared.
    """
    assert_detections(found, len(CLASSES), SIZE)
    assert abs(len(found) - len(expected)) <= 0.1 * len(expected) + 1
    best = expected[torch.arange(min(10, len(expected)))]
    same = box_iou(best.boxes, found.boxes) > 0.9
    same &= best.labels[:, None] == found.labels
    same &= (best.scores[:, None] - found.scores).abs() < tolerance * float(expected.scores.abs().max())
    assert same.any(dim=1).float().mean() >= 0.9


@pytest.mark.parametrize("head", ["svm", "softmax"])
def test_heads(device, head):
    features = random_maps(500, random_detector().heads.dimension)
    here, there = (random_detector(replace(TINY, head=head), device=place).heads for place in ("cpu", device))
    for name in ("forward", "scores", "offsets"):
        found, expected = getattr(there, name)(features.to(device)), getattr(here, name)(features)
        assert found.device.type == device
        assert_close_rows(found.cpu(), expected, 1e-4)
    there.rescale(3.0)
    there.fold_scale()
    assert_close_rows(there.scores(features.to(device)).cpu(), here.scores(features), 1e-4)


def test_nms_and_selection(device):
    boxes = random_boxes(SIZE, 400)
    scores, labels = random_maps(400), torch.arange(400) % 3
    kept = nms(boxes.to(device), scores.to(device), labels.to(device), 0.3, 20)
    assert kept.device.type == device
    assert torch.equal(kept.cpu(), nms(boxes, scores, labels, 0.3, 20))
    offsets, by_class = random_maps(400, 3, 4) / 10, random_maps(400, 3, seed=1)
    moved = clip_boxes(decode_boxes(boxes.to(device), offsets.to(device)), *SIZE)
    assert_close_rows(moved.cpu(), clip_boxes(decode_boxes(boxes, offsets), *SIZE))
    found = select(moved, by_class.to(device), SelectionConfig())
    expected = select(moved.cpu(), by_class, SelectionConfig())
    assert found.boxes.device.type == "cpu"
    for name, value in expected.as_dict().items():
        assert torch.equal(found.as_dict()[name], value)


@pytest.mark.parametrize("features", ["spp", "crop", "roi_pool", "roi_align"])
@pytest.mark.parametrize("head", ["svm", "softmax"])
def test_detect(device, features, head):
    config = replace(TINY, features=features, head=head, fc=FCConfig(1, 24), spp=SPPConfig((64, 90)))
    image = random_image(*SIZE)
    here, there = (random_detector(config, device=place) for place in ("cpu", device))
    assert_near(there.detect(image), here.detect(image))
    assert_near(there.detect(image.to(device)), here.detect(image))
    boxes = random_boxes(SIZE, 50)
    assert_near(there.detect(image, boxes.to(device)), here.detect(image, boxes))
    (found,) = there([image.to(device)])
    assert_near(Detections(**found), here.detect(image))


def test_mirror_images_and_tiles(device):
    config, image = replace(TINY, mirror=True), random_image(*SIZE)
    here, there = (random_detector(config, device=place) for place in ("cpu", device))
    assert_near(there.detect(image), here.detect(image))
    assert_near(detect_tiled(there, image, 64), detect_tiled(here, image, 64))


@pytest.mark.parametrize("kind", ["spp", "softmax", "crop", "roi_align", "two maps", "mirror", "unit length"])
def test_evidence_adds_up(device, kind):
    box = torch.tensor([10.0, 12, 50, 40])
    here, there = (a_detector(**KINDS[kind]) for _ in ("cpu", device))
    there.to(device)
    image = random_image(60, 80)
    for label in range(1, len(CLASSES) + 1):
        found, expected = (each.encode(image).evidence(box, label) for each in (there, here))
        assert found.score == pytest.approx(expected.score, abs=1e-3)
        assert found.bias + sum(part.total for part in found.maps) == pytest.approx(found.score, abs=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("features", ["spp", "crop"])
def test_detect_in_half_precision(device, features, precision, tmp_path):
    random_detector(replace(TINY, features=features)).save(tmp_path / "detector.safetensors")
    half = Detector.load(tmp_path / "detector.safetensors", device, precision)
    exact = Detector.load(tmp_path / "detector.safetensors", "cpu")
    assert f"precision={precision}" in repr(half)
    image, boxes = random_image(*SIZE), random_boxes(SIZE, 40)
    assert_close_rows(half.encode(image).score(boxes).cpu(), exact.encode(image).score(boxes), 0.1)


@pytest.mark.parametrize("depth", [0, 2])
def test_a_detector_is_saved_on_one_device_and_loaded_on_the_other(device, depth, tmp_path):
    image = random_image(*SIZE)
    for first, second in (("cpu", device), (device, "cpu")):
        detector = random_detector(replace(TINY, fc=FCConfig(depth, 24)), device=first)
        detector.calibration = Calibration(torch.zeros(3, 1, 2).double(), torch.ones(3).double()).to(first)
        detector.save(tmp_path / "detector.safetensors")
        loaded = Detector.load(tmp_path / "detector.safetensors", second)
        assert {tensor.device.type for tensor in loaded.state_dict().values()} == {second}
        for name, value in detector.state_dict().items():
            assert torch.equal(loaded.state_dict()[name].cpu(), value.cpu()), name
        assert_near(loaded.detect(image), detector.detect(image))
        found = loaded.probabilities(loaded.detect(image))
        assert found.scores.max() <= 1
        assert len(found.above(loaded.thresholds)) <= len(found)


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_memory_is_given_back(device, features):
    before = torch.cuda.memory_allocated()
    detector = random_detector(replace(TINY, features=features), device=device)
    peaks = []
    for seed in range(6):
        torch.cuda.reset_peak_memory_stats() if device == "cuda" else None
        detector.detect(random_image(*SIZE, seed))
        peaks.append(torch.cuda.max_memory_allocated())
    assert max(peaks[2:]) <= 1.1 * peaks[1]
    del detector
    assert torch.cuda.memory_allocated() <= before + 2**20  # handles of the libraries are kept
