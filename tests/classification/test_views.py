from dataclasses import replace

import pytest
import torch
from factories import adaptive_bins, examples, image_file, random_image, watch
from hypothesis import HealthCheck, given, strategies as st

from sppdet.classification.views import prepare_views, resize_to_view, view_boxes
from sppdet.config.classification import ViewsConfig
from sppdet.errors import ConfigError
from sppdet.images import resize_shorter_side

SMALL = ViewsConfig("10views", sizes=(40,), window=24)


@pytest.fixture
def passes(classifier, monkeypatch) -> list[tuple[torch.Tensor]]:
    """The inputs of the network."""
    return watch(monkeypatch, classifier.backbone, "forward")


def test_boxes_are_corners_center_and_middles():
    corners, middles = [(0, 0), (6, 0), (3, 1), (0, 2), (6, 2)], [(3, 0), (0, 1), (6, 1), (3, 2)]
    assert {tuple(box[:2]) for box in view_boxes(12, 16, 10, middles=False).tolist()} == set(corners)
    boxes = view_boxes(12, 16, 10, middles=True)
    assert {tuple(box[:2]) for box in boxes.tolist()} == {*corners, *middles}
    assert (boxes[:, 2:] - boxes[:, :2] == 10).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_boxes_lie_in_the_image_and_are_distinct(height, width, side, middles):
    if side > min(height, width):
        with pytest.raises(ConfigError, match=r"views\.window: larger than the image"):
            view_boxes(height, width, side, middles)
        return
    boxes = view_boxes(height, width, side, middles)
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    assert len(boxes.unique(dim=0)) == len(boxes) <= (9 if middles else 5)
    assert (boxes[:, :2].amax(dim=0) == torch.tensor([width - side, height - side])).all()


def test_the_papers_96_views_are_windows_of_12_maps_and_10_views_of_2(classifier, passes):
    # With a window of 32 pixels, a seventh of the paper's.
    views, image = ViewsConfig("96views", window=32), random_image(90, 130)
    assert classifier.score_views(image, views).shape == (96, 3)
    sizes = [(32, 46), (37, 53), (43, 62), (51, 74), (64, 92), (80, 116)]  # 224, 256, 300, 360, 448, 560 of 7
    assert [images.shape for (images,) in passes] == [(2, 3, *size) for size in sizes]
    counts = [len(boxes) for _, boxes in prepare_views(image, views, classifier.config) if boxes is not None]
    assert counts == [3, 9, 9, 9, 9, 9]
    assert classifier.score_views(image, replace(views, full_image=True)).shape == (96 + 12, 3)
    passes.clear()
    assert classifier.score_views(image, ViewsConfig("10views")).shape == (10, 3)
    assert [images.shape for (images,) in passes] == [(2, 3, 37, 53)]  # 256 / 224 of the size it was trained at


@examples(20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(24, 70), st.integers(24, 70), st.booleans())
def test_each_view_is_pooled_from_the_cells_whose_centers_it_shows(classifier, height, width, middles):
    image = random_image(height, width)
    views = ViewsConfig("96views" if middles else "10views", sizes=(28,), window=24)
    scores = classifier.score_views(image, views)
    shown = resize_shorter_side(image, 28)
    expected = []
    (geometry,) = classifier.backbone.geometries
    stride, center = geometry.stride, geometry.center + 0.5
    for mirrored in (shown, shown.flip(2)):
        maps = classifier.maps(mirrored[None])[0][0]
        for x1, y1, x2, y2 in view_boxes(shown.shape[1], shown.shape[2], 24, middles).tolist():
            columns = [j for j in range(maps.shape[2]) if x1 < stride * j + center < x2]
            rows = [j for j in range(maps.shape[1]) if y1 < stride * j + center < y2]
            cells = maps[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            expected.append(classifier.head(adaptive_bins(cells[None], (3, 1)))[0].softmax(0))
    torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["full", "crop", "warp"])
def test_a_single_view_is_what_the_classifier_gives(classifier, kind):
    image = random_image(50, 70)
    shown = resize_to_view(image, 45, kind)
    (scores,) = classifier.score_views(image, ViewsConfig(kind, sizes=(45,)))
    torch.testing.assert_close(scores, classifier([shown])[0].softmax(0))
    both = classifier.score_views(image, ViewsConfig(kind, sizes=(45, 33), flip=True))
    assert both.shape == (4, 3)
    torch.testing.assert_close(both[0], scores)
    torch.testing.assert_close(both[1], classifier([shown.flip(2)])[0].softmax(0))
    as_trained = classifier([resize_to_view(image, 32, "full")])[0].softmax(0)
    torch.testing.assert_close(classifier.predict(image), as_trained)


def test_the_whole_image_stands_beside_its_windows_and_probabilities_are_the_mean_of_the_views(classifier):
    image = random_image(50, 70)
    with_whole = classifier.score_views(image, replace(SMALL, full_image=True))
    assert with_whole.shape == (12, 3)
    torch.testing.assert_close(with_whole[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]], classifier.score_views(image, SMALL))
    whole = classifier.score_views(image, ViewsConfig("full", sizes=(40,), flip=True))
    torch.testing.assert_close(with_whole[[5, 11]], whole)
    found = classifier.predict(image, SMALL)
    torch.testing.assert_close(found, classifier.score_views(image, SMALL).mean(dim=0))
    assert float(found.sum()) == pytest.approx(1)


def test_views_may_be_given_by_name_and_images_by_file(classifier, tmp_path):
    image, file = random_image(50, 70), image_file(tmp_path / "image.png", 50, 70)
    expected = classifier.predict(image, ViewsConfig("10views"))
    assert torch.equal(classifier.predict(file, views="10views"), expected)
    with pytest.raises(ConfigError, match=r"views\.kind"):
        classifier.predict(image, views="12views")
    with pytest.raises(ConfigError, match=r"views\.window: larger than the image .expected at most 40.*got 41"):
        classifier.predict(image, replace(SMALL, window=41))


SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.integers(1, 40))
def test_full_keeps_the_aspect_up_to_four_to_one(height, width, size):
    shown = resize_to_view(random_image(height, width), size, "full")
    assert min(shown.shape[1:]) == size
    wanted = min(max(height, width) / min(height, width), 4) * size
    assert abs(max(shown.shape[1:]) - wanted) <= 0.5 + 1e-9
    assert height == width or (shown.shape[1] > shown.shape[2]) <= (height > width)


@given(SIDES, SIDES, st.integers(1, 40), st.floats(0, 1), st.sampled_from(["crop", "warp"]))
def test_crops_and_warped_images_are_square(height, width, size, place, view):
    assert resize_to_view(random_image(height, width), size, view, place).shape == (3, size, size)


def test_full_is_the_image_resized_and_warping_shows_all_of_it():
    image = random_image(50, 70)
    assert torch.equal(resize_to_view(image, 31, "full"), resize_shorter_side(image, 31))
    assert torch.equal(resize_to_view(image, 50, "full"), image)
    image = torch.zeros(3, 20, 60, dtype=torch.uint8)
    image[0, :, :30] = 200
    shown = resize_to_view(image, 10, "warp")
    assert (shown[0, :, :5] == 200).all()
    assert (shown[0, :, 5:] == 0).all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_lies_at_its_place_along_the_longer_side(turned):
    image = random_image(20, 51)
    crops = {0.0: image[:, :, :20], 0.5: image[:, :, 16:36], 1.0: image[:, :, 31:]}
    for place, expected in crops.items():
        given_, wanted = (image.mT, expected.mT) if turned else (image, expected)
        assert torch.equal(resize_to_view(given_, 20, "crop", place), wanted)
