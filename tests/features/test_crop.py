"""Crops: which part of the image each shows, and what lies outside."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sppdet.backbones.backbone import Backbone
from sppdet.config.detector import CropConfig
from sppdet.features.crop import warp_crops

DEFAULT = CropConfig()


def pixels_of(crops: Tensor, backbone: Backbone) -> np.ndarray:
    """Crops before normalization, float (N, size, size, 3)."""
    restored = (crops * backbone.std[:, None, None] + backbone.mean[:, None, None]) * 255
    return restored.permute(0, 2, 3, 1).numpy()


def warp(box: list[float], image: np.ndarray, backbone: Backbone, config: CropConfig = DEFAULT) -> np.ndarray:
    crops = warp_crops(image, torch.tensor([box]), config, backbone)
    assert crops.shape[1:] == (3, config.size, config.size)
    return pixels_of(crops, backbone)[0]


NOISE = np.random.default_rng(0).integers(0, 256, (101, 126, 3), dtype=np.uint8)
IMAGE = cv2.resize(NOISE, (500, 400), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    ("box", "grown"),
    [
        # A side grows by 227 / 195 about its middle: 195 becomes 227, 39 becomes 45.4, 292.5 becomes 340.5.
        ([116.5, 76.5, 311.5, 271.5], (100.5, 60.5, 327.5, 287.5)),
        ([200.0, 100, 239, 139], (196.8, 96.8, 242.2, 142.2)),
        ([50.0, 60, 440, 255], (18, 44, 472, 271)),
        ([60.0, 40, 352.5, 332.5], (36, 16, 376.5, 356.5)),
    ],
)
def test_a_box_well_inside_is_its_grown_region_resized(backbone, box, grown):
    x1, y1, x2, y2 = np.round(grown).astype(int)
    region = IMAGE[y1:y2, x1:x2]
    shrinks = region.shape[0] * region.shape[1] > 227 * 227
    expected = cv2.resize(region, (227, 227), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    np.testing.assert_allclose(warp(box, IMAGE, backbone), expected, atol=0.01)


def test_a_box_at_the_corner_is_padded_with_the_mean_color(backbone):
    # [0, 39) grows to [-3, 42): 3 of 45 pixels lie outside, 15 of the crop's 227.
    crops = warp_crops(IMAGE, torch.tensor([[0.0, 0, 39, 39], [461, 361, 500, 400]]), CropConfig(), backbone)
    top_left, bottom_right = crops
    assert (top_left[:, :15] == 0).all()
    assert (top_left[:, :, :15] == 0).all()
    assert (bottom_right[:, 212:] == 0).all()
    assert (bottom_right[:, :, 212:] == 0).all()
    inside = pixels_of(crops, backbone)
    np.testing.assert_allclose(inside[0, 15:, 15:], cv2.resize(IMAGE[:42, :42], (212, 212)), atol=0.01)
    np.testing.assert_allclose(inside[1, :212, :212], cv2.resize(IMAGE[358:, 458:], (212, 212)), atol=0.01)


def test_without_context_a_box_does_not_grow(backbone):
    expected = cv2.resize(IMAGE[100:180, 200:280], (100, 100), interpolation=cv2.INTER_LINEAR)
    crop = warp([200.0, 100, 280, 180], IMAGE, backbone, CropConfig(size=100, context=0))
    np.testing.assert_allclose(crop, expected, atol=0.01)


def test_context_is_what_surrounds_the_box(backbone):
    """A black box on white: the crop's border of `context` pixels is white, the rest black."""
    image = np.full((400, 500, 3), 255, np.uint8)
    image[100:295, 150:345] = 0
    crop = warp([150.0, 100, 345, 295], image, backbone)
    assert crop[16:211, 16:211].max() < 0.01
    assert crop[:16].min() > 254.9
    assert crop[211:].min() > 254.9
    assert crop[:, :16].min() > 254.9
