"""The features of a network with two maps, each pooled in windows of its own."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from contracts import assert_close_rows, assert_extractor
from factories import adaptive_bins, random_boxes, random_image

from sppdet.backbones.backbone import Backbone
from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import CropConfig, DetectorConfig, FeatureKind, RoIConfig, SPPConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.features.build import build_extractor
from sppdet.features.crop import warp_crops
from sppdet.features.extractor import FeatureExtractor
from sppdet.features.spp import SPPExtractor, _unique_rows
from sppdet.images import shorter_side_size, to_array
from sppdet.pooling.roi import RoIAlign
from sppdet.pooling.windows import boxes_to_cells, boxes_to_windows, choose_scales

CONFIG = DetectorConfig(
    backbone=BackboneConfig("mobilenet_v3_small", "random", "skip"),
    pyramid=PyramidConfig((3, 1), last_levels=(2,)),
    roi=RoIConfig(2),
    spp=SPPConfig((96, 320)),
    crop=CropConfig(size=67, context=5, batch_size=4),
)
IMAGE = random_image(60, 80)
BOXES = torch.cat(
    [random_boxes(20), torch.tensor([[0.0, 0, 80, 60], [3, 4, 70, 50], [20, 20, 20, 20], [90, 9, 95, 9]])]
)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone("mobilenet_v3_small", "random", tap="skip")


def build(backbone: Backbone, kind: FeatureKind = "spp", depth: int = 0) -> FeatureExtractor:
    config = replace(CONFIG, features=kind, fc=FCConfig(depth, 40))
    return build_extractor(config, backbone, build_fully_connected(config, backbone))


def ratio_at(side: int) -> tuple[float, float]:
    height, width = shorter_side_size(60, 80, side)
    return width / 80, height / 60


@pytest.mark.parametrize("kind", get_args(FeatureKind))
@pytest.mark.parametrize("depth", [0, 2])
def test_every_extractor_keeps_the_contract(backbone, kind, depth, monkeypatch):
    extractor = build(backbone, kind, depth)
    bins = (4, 4) if kind.startswith("roi") else (10, 4)
    assert extractor.pooled_dimension == sum(c * n for c, n in zip(backbone.channels, bins, strict=True))
    monkeypatch.setattr(FeatureExtractor, "CHUNK_BYTES", 5 * 4 * extractor.pooled_dimension)
    assert_extractor(extractor, IMAGE, torch.cat([BOXES, BOXES[:3]]))


def test_each_map_is_pooled_in_the_windows_of_its_geometry(backbone):
    extractor = build(backbone)
    assert isinstance(extractor, SPPExtractor)
    encoded, maps = extractor.encode(IMAGE), extractor.compute_maps(IMAGE)
    scales = choose_scales(BOXES, 60, CONFIG.spp.scales)
    features, windows = encoded.features(BOXES), torch.zeros(len(BOXES), 2, 4, dtype=torch.int64)
    for i, k in enumerate(scales.tolist()):
        row = []
        for m, levels in enumerate(CONFIG.levels):
            size = tuple(maps[k][m].shape[1:])
            (window,) = boxes_to_windows(BOXES[i][None], ratio_at(CONFIG.spp.scales[k]), backbone.geometries[m], size)
            x1, y1, x2, y2 = window.tolist()
            windows[i, m] = window
            row.append(adaptive_bins(maps[k][m][None, :, y1:y2, x1:x2].float(), levels)[0])
        assert torch.equal(features[i], torch.cat(row))
        assert torch.equal(extractor.windows(BOXES[i][None], k, (60, 80), encoded.maps[k])[0], windows[i])
    first, inverse = encoded.unique_windows(BOXES)
    shared = inverse[:, None] == inverse
    same = (windows[:, None] == windows).flatten(2).all(dim=2) & (scales[:, None] == scales)
    assert torch.equal(shared, same)
    assert len(first) == len(inverse.unique())


def test_regions_of_the_same_cells_on_one_map_only_share_nothing(backbone):
    """At 96 pixels, the maps have 6 and 3 rows, with the last centers at pixels 80 and 64, 50 and 40 of the image."""
    extractor = build_extractor(replace(CONFIG, spp=SPPConfig((96,))), backbone)
    assert isinstance(extractor, SPPExtractor)
    encoded, boxes = extractor.encode(IMAGE), torch.tensor([[0.0, 0, 60, 60], [0, 0, 60, 46], [0, 0.1, 60, 60]])
    first, last = extractor.windows(boxes, 0, (60, 80), encoded.maps[0]).unbind(1)
    assert first[:, 3].tolist() == [6, 5, 6]
    assert last[:, 3].tolist() == [3, 3, 3]
    assert encoded.unique_windows(boxes)[1].tolist() == [1, 0, 1]


def test_aligned_regions_are_those_of_each_map(backbone):
    extractor = build(backbone, "roi_align")
    assert isinstance(extractor, SPPExtractor)
    maps, scales = extractor.compute_maps(IMAGE), choose_scales(BOXES, 60, CONFIG.spp.scales)
    for row, box, k in zip(extractor.encode(IMAGE).features(BOXES), BOXES, scales.tolist(), strict=True):
        ratio, places = ratio_at(CONFIG.spp.scales[k]), zip(maps[k], backbone.geometries, strict=True)
        align = RoIAlign(2, samples=CONFIG.roi.samples)
        parts = [align(one[None].float(), boxes_to_cells(box[None], ratio, place))[0] for one, place in places]
        assert_close_rows(row, torch.cat(parts))


def test_features_of_crops_are_of_both_their_maps(backbone):
    crops = warp_crops(to_array(IMAGE), BOXES, CONFIG.crop, backbone)
    pairs = zip(backbone(crops), CONFIG.levels, strict=True)
    expected = torch.cat([adaptive_bins(maps, levels) for maps, levels in pairs], dim=1)
    assert_close_rows(build(backbone, "crop").encode(IMAGE).features(BOXES), expected, 2e-3)


def test_maps_are_stored_by_scale_and_come_back(backbone):
    extractor = build(backbone)
    cold, stored = extractor.encode(IMAGE), extractor.store(IMAGE, BOXES)
    assert list(stored) == ["scale0.map0", "scale0.map1", "scale1.map0", "scale1.map1"]
    assert [len(maps) for maps in stored.values()] == 2 * list(backbone.channels)
    assert torch.equal(extractor.restore(stored, (60, 80), BOXES).features(BOXES), cold.features(BOXES))
    assert extractor.describe() == {"levels": [[3, 1], [2]], "scales": [96, 320]}


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_regions_pooled_with_gradients_are_the_features(backbone, kind):
    extractor = build(backbone, kind)
    boxes = BOXES[choose_scales(BOXES, 60, CONFIG.spp.scales) == 1]
    pooled = extractor.pool(IMAGE, boxes, 0.5)
    assert_close_rows(pooled, extractor.encode(IMAGE).features(boxes), 2e-3)  # not rounded to half precision


@pytest.mark.parametrize("end", [4, 2**20, 2**40])
def test_distinct_rows_of_whole_numbers_are_those_of_torch(end):
    """Joined to one number, rows of the larger ones would not fit 63 bits."""
    rows = torch.randint(0, 4, (200, 5), generator=torch.Generator().manual_seed(0)) * (end // 4)
    distinct, inverse = rows.unique(dim=0, return_inverse=True)
    for given in (rows, rows.float(), rows[:0]):
        count, position = _unique_rows(given)
        assert count == (len(distinct) if len(given) else 0)
        assert torch.equal(position, inverse[: len(given)])
