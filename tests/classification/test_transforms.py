import pytest
import torch
from factories import random_image
from hypothesis import given
from hypothesis import strategies as st

from sppdet.classification.views import resize_to_view
from sppdet.images import resize_shorter_side

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


def test_full_is_the_image_resized():
    image = random_image(50, 70)
    assert torch.equal(resize_to_view(image, 31, "full"), resize_shorter_side(image, 31))
    assert torch.equal(resize_to_view(image, 50, "full"), image)


@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_lies_at_its_place_along_the_longer_side(turned):
    image = random_image(20, 51)
    crops = {0.0: image[:, :, :20], 0.5: image[:, :, 16:36], 1.0: image[:, :, 31:]}
    for place, expected in crops.items():
        given_, wanted = (image.mT, expected.mT) if turned else (image, expected)
        assert torch.equal(resize_to_view(given_, 20, "crop", place), wanted)


def test_warping_shows_all_of_the_image():
    image = torch.zeros(3, 20, 60, dtype=torch.uint8)
    image[0, :, :30] = 200
    shown = resize_to_view(image, 10, "warp")
    assert (shown[0, :, :5] == 200).all()
    assert (shown[0, :, 5:] == 0).all()
