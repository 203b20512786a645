"""A classifier of two maps of its network, each with a pyramid of its own."""

import pytest
import torch
from factories import adaptive_bins, random_image

from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.views import view_boxes
from sppdet.config.classification import ClassifierConfig, ViewsConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.images import resize_shorter_side
from sppdet.pooling.windows import boxes_to_windows

LEVELS = (3, 1), (2,)


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    pyramid = PyramidConfig(LEVELS[0], last_levels=LEVELS[1])
    backbone = BackboneConfig("mobilenet_v3_small", "random", "skip")
    return new_classifier(ClassifierConfig(backbone, pyramid, FCConfig(1, 16), sizes=(64,)), ("a", "b", "c"))


def test_whole_images_are_pooled_from_both_maps(classifier, tmp_path):
    images = [random_image(64, 90), random_image(80, 70, 1)]
    pooled = classifier.pool(images)
    assert pooled.shape == (2, classifier.pyramids.dimension)
    for row, image in zip(pooled, images, strict=True):
        maps = classifier.backbone(classifier.backbone.normalize(image[None]))
        parts = [adaptive_bins(one, levels)[0] for one, levels in zip(maps, LEVELS, strict=True)]
        torch.testing.assert_close(row, torch.cat(parts))
    torch.testing.assert_close(classifier.pool(images[:1] * 2), pooled[[0, 0]])  # of one size: a batch
    probabilities = classifier.predict(images[0])
    assert float(probabilities.sum()) == pytest.approx(1)
    classifier.save(tmp_path / "classifier.safetensors")
    loaded = Classifier.load(tmp_path)
    assert loaded.config == classifier.config
    assert torch.equal(loaded.predict(images[0]), probabilities)


@pytest.mark.parametrize("full_image", [False, True])
def test_views_are_windows_of_both_maps(classifier, full_image):
    image = random_image(70, 110)
    found = classifier.pool_views(image, ViewsConfig("10views", sizes=(96,), window=64, full_image=full_image))
    shown, expected = resize_shorter_side(image, 96), []
    boxes = view_boxes(*shown.shape[1:], 64, middles=False)
    for mirrored in (shown, shown.flip(2)):
        pairs = zip(classifier.maps(mirrored[None]), classifier.backbone.geometries, LEVELS, strict=True)
        parts = []
        for maps, geometry, levels in pairs:
            windows = boxes_to_windows(boxes, (1.0, 1.0), geometry, tuple(maps.shape[2:])).tolist()
            cells = [maps[:, :, y1:y2, x1:x2] for x1, y1, x2, y2 in windows] + [maps] * full_image
            parts.append(torch.cat([adaptive_bins(one, levels) for one in cells]))
        expected.append(torch.cat(parts, dim=1))
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)
