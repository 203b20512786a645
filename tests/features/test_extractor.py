"""The features of both modes: what they are, what they cost, and how they are asked for."""

import math
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from contracts import assert_extractor
from factories import adaptive_bins, pyramids_of
from torchvision.ops import roi_align

from sppdet.backbones.fully_connected import build_fully_connected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import CropConfig, DetectorConfig, FeatureKind, RoIConfig, SPPConfig
from sppdet.config.network import FCConfig, PyramidConfig
from sppdet.errors import InputError
from sppdet.features.build import build_extractor
from sppdet.features.crop import CropExtractor, warp_crops
from sppdet.features.extractor import FeatureExtractor, apply_to_features
from sppdet.features.spp import SPPExtractor
from sppdet.pooling.windows import boxes_to_windows, choose_scales
from sppdet.runtime.stopwatch import Stopwatch

LEVELS = (3, 1)
CROP = CropConfig(size=67, context=5, batch_size=4)
BOXES = torch.tensor(
    [[0.0, 0, 80, 60], [3, 4, 30, 50], [40.5, 10.25, 70, 59], [79, 59, 80, 60], [20, 20, 20, 20], [10, 2, 14, 6]]
)


NOISE = np.random.default_rng(0).integers(0, 256, (16, 21, 3), dtype=np.uint8)
ARRAY = cv2.resize(NOISE, (80, 60), interpolation=cv2.INTER_CUBIC)
IMAGE = torch.from_numpy(ARRAY).permute(2, 0, 1).contiguous()


def test_spp_calls_the_network_once_a_scale(backbone, calls):
    encoded = SPPExtractor(backbone, pyramids_of(backbone, LEVELS), SPPConfig((48, 64, 96))).encode(IMAGE)
    for _ in range(3):
        encoded.features(BOXES)
    assert calls == [(1, 3, 48, 64), (1, 3, 64, 85), (1, 3, 96, 128)]


@pytest.mark.parametrize(("n", "batch"), [(1, 4), (4, 4), (6, 4), (6, 1), (0, 4)])
def test_crops_call_the_network_once_a_batch(backbone, calls, n, batch):
    features = (
        CropExtractor(backbone, pyramids_of(backbone, LEVELS), replace(CROP, batch_size=batch))
        .encode(IMAGE)
        .features(BOXES[:n])
    )
    assert features.shape == (n, 10 * backbone.channels[0])
    assert len(calls) == math.ceil(n / batch)
    assert sum(shape[0] for shape in calls) == n
    assert {shape[1:] for shape in calls} <= {(3, 67, 67)}


OUTSIDE = torch.tensor([[-50.0, -50, -40, -40], [500, 500, 600, 600], [-100, -100, 900, 900], [0, 0, 0, 0]])


def configure(kind: str = "spp", depth: int = 0) -> DetectorConfig:
    layers = FCConfig(depth, 40)
    spp = SPPConfig((64, 120))
    return DetectorConfig(features=kind, pyramid=PyramidConfig((3, 1)), roi=RoIConfig(3), fc=layers, spp=spp, crop=CROP)


@pytest.mark.parametrize("kind", get_args(FeatureKind))
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("rows", [3, 1000])
def test_every_extractor_keeps_the_contract(backbone, kind, depth, rows, monkeypatch):
    """Whatever the boxes, and in chunks of any number of rows."""
    config = configure(kind, depth)
    extractor = build_extractor(config, backbone, build_fully_connected(config, backbone))
    monkeypatch.setattr(FeatureExtractor, "CHUNK_BYTES", rows * 4 * extractor.pooled_dimension)
    assert_extractor(extractor, IMAGE, torch.cat([BOXES, BOXES[:3], OUTSIDE]))


def test_the_whole_image_covers_nearly_all_cells(backbone):
    for name in ("shapenet", "squeezenet1_0"):
        network = backbone if name == "shapenet" else build_backbone(name, "random")
        encoded = SPPExtractor(network, pyramids_of(network, LEVELS), SPPConfig((160,))).encode(IMAGE)
        height, width = encoded.maps[0][0].shape[2:]
        ratio = (213 / 80, 160 / 60)
        x1, y1, x2, y2 = boxes_to_windows(BOXES[:1], ratio, network.geometries[0], (height, width))[0].tolist()
        assert x2 - x1 >= width - 1
        assert y2 - y1 >= height - 1


def test_spp_features_are_the_pooled_windows_of_the_map(backbone):
    extractor = SPPExtractor(backbone, pyramids_of(backbone, LEVELS), SPPConfig((64,)))
    maps = extractor.compute_maps(IMAGE)[0][0].float()
    windows = boxes_to_windows(BOXES, (85 / 80, 64 / 60), backbone.geometries[0], tuple(maps.shape[1:]))
    for row, (x1, y1, x2, y2) in zip(extractor.encode(IMAGE).features(BOXES), windows.tolist(), strict=True):
        assert torch.equal(row, adaptive_bins(maps[None, :, y1:y2, x1:x2], LEVELS)[0])


def build(backbone, kind: str, size: int = 4, scales: tuple[int, ...] = (64,)):
    return build_extractor(replace(configure(kind), roi=RoIConfig(size), spp=SPPConfig(scales)), backbone)


@pytest.mark.parametrize("size", [1, 2, 4, 6, 7])
def test_roi_pooling_is_the_maximum_of_windows_rounded_to_cells(backbone, size):
    """shapenet has a cell every 8 pixels, the first centered at 3.5: x = 15.5 is at 1.5, which rounds to 2."""
    assert (backbone.geometries[0].stride, backbone.geometries[0].center + 0.5) == (8, 3.5)
    extractor = build(backbone, "roi_pool", size, scales=(60,))
    maps = extractor.compute_maps(IMAGE)[0][0].float()
    boxes = torch.tensor([[15.5, 7.4, 63.6, 39.4], [3.5, 3.5, 11.5, 11.5], [33.0, 23.0, 34.0, 24.0]])
    for row, (x1, y1, x2, y2) in zip(
        extractor.encode(IMAGE).features(boxes), [(2, 0, 9, 5), (0, 0, 2, 2), (4, 2, 5, 4)], strict=True
    ):
        assert torch.equal(row, adaptive_bins(maps[None, :, y1:y2, x1:x2], (size,))[0])


@pytest.mark.parametrize("scales", [(64,), (64, 256, 120)])
def test_aligned_features_are_torchvisions_of_boxes_in_pixels(backbone, scales):
    extractor = build(backbone, "roi_align", scales=scales)
    maps = extractor.compute_maps(IMAGE)
    stride, center = backbone.geometries[0].stride, backbone.geometries[0].center
    chosen = choose_scales(BOXES, 60, scales).tolist()
    for row, box, k in zip(extractor.encode(IMAGE).features(BOXES), BOXES, chosen, strict=True):
        side = scales[k]
        ratio = torch.tensor([round(side * 80 / 60) / 80, side / 60]).repeat(2)
        shifted = box * ratio - (center + 0.5) + stride / 2  # as if cell 0 covered the first pixels
        expected = roi_align(maps[k][0][None].float(), [shifted[None]], 4, 1 / stride, sampling_ratio=2, aligned=True)
        torch.testing.assert_close(row, expected[0].permute(1, 2, 0).flatten(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scales", [(64,), (64, 256, 120)])
def test_regions_of_the_same_cells_share_their_features(backbone, scales):
    encoded = SPPExtractor(backbone, pyramids_of(backbone, LEVELS), SPPConfig(scales)).encode(IMAGE)
    boxes = torch.cat([BOXES, BOXES + 0.01, BOXES[:3]])
    first, inverse = encoded.unique_windows(boxes)
    features = encoded.features(boxes)
    assert len(first) <= len(BOXES) + 2
    assert torch.equal(features[first][inverse], features)


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_a_function_is_applied_to_chunks(backbone, kind, monkeypatch):
    extractor = build(backbone, kind)
    monkeypatch.setattr(FeatureExtractor, "CHUNK_BYTES", 3 * 4 * extractor.dimension)
    sizes: list[int] = []
    apply_to_features(extractor.encode(IMAGE), BOXES, lambda rows: sizes.append(len(rows)) or rows)
    assert 0 < max(sizes) < len(BOXES)


@pytest.mark.parametrize("rule", ["paper", "code"])
def test_each_box_is_pooled_at_the_scale_of_the_rule(backbone, rule):
    scales = (64, 256, 120)
    features = (
        SPPExtractor(backbone, pyramids_of(backbone, LEVELS), SPPConfig(scales, scale_rule=rule))
        .encode(IMAGE)
        .features(BOXES)
    )
    chosen = choose_scales(BOXES, 60, scales, rule).tolist()
    assert len(set(chosen)) > 1
    for row, box, k in zip(features, BOXES, chosen, strict=True):
        single = SPPExtractor(backbone, pyramids_of(backbone, LEVELS), SPPConfig((scales[k],))).encode(IMAGE)
        assert torch.equal(row, single.features(box[None])[0])


@pytest.mark.parametrize("mode", ["max", "average"])
def test_maps_restored_from_half_precision_are_the_cold_ones_and_crop_features_survive_it(backbone, mode):
    extractor = SPPExtractor(backbone, pyramids_of(backbone, LEVELS, mode), SPPConfig((64, 96)))
    cold = extractor.encode(IMAGE)
    restored = extractor.restore(extractor.store(IMAGE, BOXES), cold.size, BOXES)
    for (maps,), (again,) in zip(cold.maps, restored.maps, strict=True):
        assert torch.equal(maps.values, again.values)
    assert torch.equal(cold.features(BOXES), restored.features(BOXES))
    features = CropExtractor(backbone, pyramids_of(backbone, LEVELS, mode), CROP).encode(IMAGE).features(BOXES)
    assert torch.equal(features.half().float(), features)


def test_stored_crops_have_the_features_of_their_own_boxes(backbone):
    extractor = CropExtractor(backbone, pyramids_of(backbone, LEVELS), CROP)
    direct = extractor.encode(IMAGE).features(BOXES)
    restored = extractor.restore(extractor.store(IMAGE, BOXES), (60, 80), BOXES)
    assert torch.equal(restored.features(BOXES[[4, 0]]), direct[[4, 0]])
    assert restored.features(BOXES[:0]).shape == (0, extractor.dimension)
    with pytest.raises(InputError, match="boxes: not among those stored"):
        restored.features(BOXES + 1)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_crop_features_are_the_pyramid_of_the_crops_map(backbone, batch):
    extractor = CropExtractor(backbone, pyramids_of(backbone, LEVELS), replace(CROP, batch_size=batch))
    crops = warp_crops(ARRAY, BOXES, CROP, backbone)
    features = extractor.encode(IMAGE).features(BOXES)
    torch.testing.assert_close(features, adaptive_bins(backbone(crops)[0], LEVELS), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["spp", "crop"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stages_are_timed(kind, precision):
    extractor = build(build_backbone("shapenet", "random", precision=precision), kind)
    with Stopwatch() as clock:
        extractor.encode(IMAGE).features(BOXES)
    assert set(clock.seconds) == {"preprocess", "conv", "pooling"}
    assert min(clock.seconds.values()) > 0


@pytest.mark.parametrize("kind", ["spp", "crop"])
@pytest.mark.parametrize("part", [1, 2**25])
def test_fully_connected_layers_end_the_features(backbone, kind, part, monkeypatch):
    monkeypatch.setattr(FeatureExtractor, "CHUNK_BYTES", part)
    config = configure(kind, 2)
    layers = build_fully_connected(config, backbone)
    with Stopwatch() as clock:
        features = build_extractor(config, backbone, layers).encode(IMAGE).features(BOXES)
    assert {"conv", "pooling", "heads"} <= set(clock.seconds)
    bare = build_extractor(configure(kind), backbone).encode(IMAGE).features(BOXES)
    torch.testing.assert_close(features, layers(bare), rtol=1e-3, atol=1e-4)  # those of crops are rounded to half
    assert features.shape == (len(BOXES), 40)
    assert features.std() > 0.01
    assert (kind == "crop") == torch.equal(features, features.half().float())


def test_layers_must_be_those_of_the_configuration(backbone):
    config = configure(depth=1)
    layers = build_fully_connected(config, backbone)
    for other in (configure(depth=2), configure(depth=0), replace(config, pyramid=PyramidConfig((2,)))):
        with pytest.raises(InputError, match="layers: do not match the configuration"):
            build_extractor(other, backbone, layers)
    with pytest.raises(InputError, match="layers"):
        build_extractor(config, backbone)


def test_half_precision_convolutions_are_near():
    exact, near = (
        build(build_backbone("shapenet", "random", precision=precision), "spp").encode(IMAGE).features(BOXES)
        for precision in ("fp32", "bf16")
    )
    assert not torch.equal(exact, near)
    assert (exact - near).norm() / exact.norm() < 0.03


def test_build_extractor_reads_the_configuration(backbone):
    config = DetectorConfig(pyramid=PyramidConfig((2,), mode="average"), spp=SPPConfig((100,)), crop=CROP)
    spp = build_extractor(config, build_backbone("shapenet", "random", precision="bf16"))
    assert isinstance(spp, SPPExtractor)
    assert (spp.config, spp.backbone.precision, spp.pooling.forms[0].mode) == (SPPConfig((100,)), "bf16", "average")
    crop = build_extractor(replace(config, features="crop"), backbone)
    assert isinstance(crop, CropExtractor)
    assert (crop.config, crop.dimension) == (CROP, 4 * backbone.channels[0])
