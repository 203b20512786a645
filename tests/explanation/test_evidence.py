"""The parts of a score: they add up to it, and they are where a search for each maximum finds them."""

from dataclasses import replace

import pytest
import torch
from factories import CLASSES, TINY, random_image
from hypothesis import given, settings, strategies as st
from matplotlib.figure import Figure
from torch.nn.functional import adaptive_max_pool2d

from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError, InputError
from sppdet.explanation.plot import _draw_rivals

BOX = torch.tensor([10.0, 12, 50, 40])
KINDS = {
    "spp": {},
    "softmax": {"head": "softmax"},
    "average": {"pyramid": PyramidConfig((2, 1), mode="average")},
    "five scales": {"spp": replace(TINY.spp, scales=(32, 64, 96))},
    "roi_pool": {"features": "roi_pool"},
    "roi_align": {"features": "roi_align"},
    "crop": {"features": "crop"},
    "average of crops": {"features": "crop", "pyramid": PyramidConfig((2, 1), mode="average")},
    "two maps": {"backbone": BackboneConfig("efficientnet_lite0", "random", "skip")},
    "mirror": {"mirror": True},
    "unit length": {"pyramid": PyramidConfig((2, 1), unit_length=True)},
    "unit length of crops": {"features": "crop", "pyramid": PyramidConfig((2, 1), unit_length=True)},
    "unit length, RoI Align": {"features": "roi_align", "pyramid": PyramidConfig(unit_length=True)},
}


def a_detector(**settings) -> Detector:
    """A detector with random heads, whose scores are about 1."""
    torch.manual_seed(0)
    detector = Detector(replace(TINY, **settings), CLASSES)
    features = detector.encode(random_image(60, 80)).features(BOX[None])
    detector.heads.weight.data.normal_().div_(float(features.norm()))
    detector.heads.bias.data.normal_()
    return detector


@pytest.mark.parametrize("kind", KINDS)
def test_bins_and_cells_add_up_to_the_score(kind):
    detector = a_detector(**KINDS[kind])
    encoded = detector.encode(random_image(60, 80))
    outputs = encoded.outputs(BOX[None])
    logits = detector.heads.split(outputs)[0][0, -len(CLASSES) :]
    for label in (1, 2, 3):
        evidence = encoded.evidence(BOX, label)
        score = float(logits[label - 1])
        assert abs(score) > 0.01
        assert evidence.score == pytest.approx(score, abs=1e-4)
        assert evidence.bias + sum(part.total for part in evidence.maps) == pytest.approx(score, abs=1e-4)
        bins = sum(float(level.sum()) for part in evidence.maps for level in part.bins)
        assert evidence.bias + bins == pytest.approx(score, abs=1e-4)
        assert torch.allclose(evidence.scores, logits.double(), atol=1e-4)
    assert len(evidence.maps) == (2 if kind in ("two maps", "mirror") else 1)


@settings(max_examples=25)
@given(st.integers(0, 50), st.integers(0, 40), st.integers(2, 30), st.integers(2, 20))
def test_every_maximum_counts_in_its_cell(x, y, width, height):
    detector = a_detector()
    encoded = detector.encode(random_image(60, 80))
    evidence = encoded.evidence(torch.tensor([x, y, x + width, y + height]).float(), 2)
    (part,), features = evidence.maps, encoded.image_features
    (maps,) = detector.extractor.compute_maps(random_image(60, 80))
    x1, y1, x2, y2 = (int(edge) for edge in part.window)
    inside = maps[0].float()[:, y1:y2, x1:x2]
    channels = inside.shape[0]
    weight = detector.heads.weight[1].double().split([channels * n * n for n in (2, 1)])
    cells = torch.zeros_like(part.cells)
    for n, own, level in zip((2, 1), weight, part.bins, strict=True):
        values, places = adaptive_max_pool2d(inside[None], n, return_indices=True)
        parts = values[0].double() * own.view(n, n, channels).permute(2, 0, 1)  # (C, n, n)
        assert torch.allclose(level, parts.sum(dim=0), atol=1e-9)
        rows, columns = places[0] // (x2 - x1) + y1, places[0] % (x2 - x1) + x1
        cells.index_put_((rows, columns), parts, accumulate=True)
    assert torch.allclose(part.cells, cells, atol=1e-6)
    assert features.extractor is detector.extractor


def test_cells_lie_on_the_image_where_the_network_sees_them():
    encoded = a_detector().encode(random_image(60, 80))
    evidence = encoded.evidence(BOX, 1)
    heat = evidence.on_image(60, 80)
    x1, y1, x2, y2 = (round(edge) for edge in BOX.tolist())
    outside = heat.clone()
    outside[y1 - 8 : y2 + 8, x1 - 8 : x2 + 8] = 0
    assert heat.abs().sum() > 0
    assert not outside.any(), "cells with their center in the box"
    assert float(heat.sum()) == pytest.approx(evidence.maps[0].total, abs=0.2 * float(heat.abs().sum()))


def test_a_crop_s_cells_cover_its_box():
    encoded = a_detector(features="crop").encode(random_image(60, 80))
    (part,) = encoded.evidence(BOX, 1).maps
    x1, y1, x2, y2 = part.first_cell
    rows, columns = part.cells.shape
    middle = x1 + columns / 2 * (x2 - x1), y1 + rows / 2 * (y2 - y1)
    assert middle == pytest.approx((30, 26), abs=3)
    assert columns * (x2 - x1) > 40
    assert rows * (y2 - y1) > 28


def test_rivals_are_the_other_classes_best_first():
    evidence = a_detector().encode(random_image(60, 80)).evidence(BOX, 2)
    labels, scores = zip(*evidence.rivals(), strict=True)
    assert sorted(labels) == [1, 3]
    assert scores[0] >= scores[1]
    assert evidence.as_dict()["maps"][0]["total"] == evidence.maps[0].total
    axes = Figure().subplots()
    _draw_rivals(axes, evidence, CLASSES)
    assert {bar.get_width() for bar in axes.patches} == {evidence.score, *scores}
    assert {bar.get_x() for bar in axes.patches} == {0}, "bars start at 0"


def test_a_region_is_pooled_in_inference_mode_as_well():
    encoded = a_detector().encode(random_image(60, 80))
    with torch.inference_mode():
        assert encoded.evidence(BOX, 1).score == encoded.evidence(BOX, 1).score


def test_what_has_no_exact_evidence_says_so():
    encoded = a_detector(fc=FCConfig(depth=1, width=8)).encode(random_image(60, 80))
    with pytest.raises(ConfigError, match=r"no sum over bins and cells"):
        encoded.evidence(BOX, 1)
    with pytest.raises(InputError, match=r"expected 1..3, got 4"):
        a_detector().encode(random_image(60, 80)).evidence(BOX, 4)
