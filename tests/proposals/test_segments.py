import numpy as np
import pytest
from factories import examples, soft_image
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from sppdet.proposals.segmentation import smooth
from sppdet.proposals.segments import Segments, describe, quantize

H, W = 20, 30

label_maps = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda size: arrays(np.int32, size, elements=st.integers(0, 6))
)


def consecutive(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def blocks(rows: int = 4, columns: int = 5) -> np.ndarray:
    """A label map (20, 30) of rectangles."""
    return (np.arange(H)[:, None] * rows // H * columns + np.arange(W) * columns // W).astype(np.int32)


def photograph(seed: int, channels: int) -> np.ndarray:
    """uint8 (20, 30) or (20, 30, C), with soft edges everywhere."""
    image = soft_image(seed, channels)
    return image[..., 0] if channels == 1 else image


def describe_smoothed(labels: np.ndarray, image: np.ndarray, separate: bool = False) -> Segments:
    return describe(labels, labels.max() + 1, quantize(image, smooth(image, 0.8), separate))


def texture_naively(right: np.ndarray, down: np.ndarray, mask: np.ndarray, separate: bool = False) -> np.ndarray:
    """Histogram (80,) of one channel's derivatives (H, W) inside a mask, a sum of 8."""
    angles = [np.pi / 4 * orientation for orientation in range(8)]
    slopes = [np.maximum(np.cos(angle) * right + np.sin(angle) * down, 0) for angle in angles]
    largest = [max(slope.max(), slopes[(o + 4) % 8].max()) for o, slope in enumerate(slopes)]  # of a line, both ways
    ranges = largest if separate else [max(largest)] * 8
    counts = [np.histogram(slope[mask], bins=10, range=(0, r))[0] for slope, r in zip(slopes, ranges, strict=True)]
    return np.concatenate(counts) / mask.sum()


def derivatives_by_scharr(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padded = np.pad(plane.astype(float), 1, mode="reflect")
    right, down = np.zeros(plane.shape), np.zeros(plane.shape)
    for step, weight in ((0, 3), (1, 10), (2, 3)):
        right += weight * (padded[step : step + H, 2:] - padded[step : step + H, :-2])
        down += weight * (padded[2:, step : step + W] - padded[:-2, step : step + W])
    return right, down


@examples(50)
@given(label_maps)
def test_sizes_boxes_and_neighbors(labels):
    labels = consecutive(labels)
    height, width = labels.shape
    segments = describe_smoothed(labels, np.zeros((height, width), np.uint8))
    pairs = set()
    for y in range(height):
        for x in range(width):
            around = labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            pairs |= {(labels[y, x], other) for other in around.ravel() if labels[y, x] < other}
    assert len(segments.pairs) == len(pairs)
    assert {tuple(pair) for pair in segments.pairs.tolist()} == pairs
    assert segments.pairs.shape[1] == 2
    assert len(segments.sizes) == labels.max() + 1
    for region in range(labels.max() + 1):
        y, x = np.nonzero(labels == region)
        assert segments.sizes[region] == len(x)
        assert segments.boxes[region].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_color_counts_25_bins_a_channel(channels):
    image = np.random.default_rng(0).integers(0, 256, (H, W, channels), dtype=np.uint8)
    image[:2, :2] = 255
    labels = blocks()
    color = describe_smoothed(labels, image).color
    assert color.dtype == np.float32
    assert color.shape == (20, 25 * channels)
    for region in range(20):
        pixels = image[labels == region]
        counts = [np.histogram(pixels[:, channel], 25, (0, 256))[0] for channel in range(channels)]
        np.testing.assert_allclose(color[region], np.concatenate(counts) / pixels.size, atol=1e-6)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_texture_counts_10_bins_an_orientation_and_channel(channels, separate):
    image = photograph(1, channels)
    planes = smooth(image, 0.8)
    labels = blocks()
    texture = describe_smoothed(labels, image, separate).texture
    assert texture.dtype == np.float32
    assert texture.shape == (20, 80 * channels)
    for region in range(20):
        mask = labels == region
        expected = [texture_naively(*derivatives_by_scharr(plane), mask, separate) for plane in planes]
        expected = np.concatenate(expected) / (8 * channels)
        assert np.abs(texture[region] - expected).sum() <= 4 / (8 * channels * mask.sum())  # two values on a bin's edge


def test_derivatives_are_those_of_a_gaussian_of_sigma_one():
    image = photograph(2, 1)
    texture = describe_smoothed(np.zeros((H, W), np.int32), image).texture[0]
    right, down = (gaussian_filter(image.astype(float), 1, order=order, mode="mirror") for order in ((0, 1), (1, 0)))
    difference = np.abs(texture - texture_naively(right, down, np.full((H, W), True)) / 8).sum()
    assert difference < 0.06
    turned = np.abs(texture - texture_naively(down, -right, np.full((H, W), True)) / 8).sum()
    assert turned > 2 * difference


@examples(30)
@given(label_maps, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_histograms_sum_to_one(labels, channels, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*labels.shape, channels), dtype=np.uint8)
    segments = describe_smoothed(consecutive(labels), image)
    for histogram in (segments.color, segments.texture):
        assert (histogram >= 0).all()
        np.testing.assert_allclose(histogram.sum(axis=1), 1, atol=1e-5)


def test_a_flat_channel_has_no_texture():
    image = photograph(3, 3)
    image[..., 1] = 201  # smoothing in single precision leaves it not quite flat
    planes = smooth(image, 0.8)
    planes[1] += np.random.default_rng(0).uniform(-2e-5, 2e-5, (H, W)).astype(np.float32)
    texture = describe(blocks(), 20, quantize(image, planes)).texture.reshape(20, 3, 8, 10)
    np.testing.assert_allclose(texture[:, 1, :, 0], 1 / 24, atol=1e-6)
    assert (texture[:, 0, :, 1:].sum(axis=(1, 2)) > 0).all()


def test_each_pixel_can_be_a_region_and_one_region_has_no_neighbors():
    """More pairs than 16 bits number."""
    size = 300
    labels = np.arange(size * size, dtype=np.int32).reshape(size, size)
    segments = describe_smoothed(labels, np.zeros((size, size), np.uint8))
    assert len(np.unique(segments.pairs, axis=0)) == len(segments.pairs) == 2 * size * (size - 1) + 2 * (size - 1) ** 2
    assert (segments.pairs[:, 0] < segments.pairs[:, 1]).all()
    assert (segments.sizes == 1).all()
    segments = describe_smoothed(np.zeros((H, W), np.int32), photograph(4, 3))
    assert segments.pairs.shape == (0, 2)
    assert segments.boxes.tolist() == [[0, 0, W, H]]
