import numpy as np
import pytest
from factories import examples
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter, label

from sppdet.proposals.segmentation import STEPS_PER_LEVEL, segment, smooth, sort_edges

PARTNERS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (-1, 1))}  # row, column


def edges_of(planes: np.ndarray, neighbors: int) -> list[tuple[float, int, int]]:
    """(weight, pixel, partner) of every edge, pixels in row-major order."""
    _, height, width = planes.shape
    edges = []
    for y in range(height):
        for x in range(width):
            for down, right in PARTNERS[neighbors]:
                v, u = y + down, x + right
                if 0 <= v < height and 0 <= u < width:
                    weight = float(np.sqrt(((planes[:, y, x].astype(float) - planes[:, v, u]) ** 2).sum()))
                    edges.append((weight, y * width + x, v * width + u))
    return edges


def in_order_of_first_pixels(components: np.ndarray) -> np.ndarray:
    _, first, labels = np.unique(components, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]


def segment_naively(planes: np.ndarray, neighbors: int, k: float, min_size: int) -> np.ndarray:
    """Felzenszwalb & Huttenlocher's algorithm as their paper words it; labels (H, W)."""
    edges = sorted(edges_of(planes, neighbors), key=lambda edge: edge[0])  # stable: equal weights keep their order
    component = np.arange(planes[0].size)
    inside = dict.fromkeys(component.tolist(), 0.0)
    for weight, pixel, partner in edges:
        a, b = component[pixel], component[partner]
        sizes = {each: (component == each).sum() for each in (a, b)}
        if a != b and all(weight <= inside[each] + k / sizes[each] for each in (a, b)):
            component[component == b] = a
            inside[a] = weight
    for _, pixel, partner in edges:
        a, b = component[pixel], component[partner]
        if a != b and min((component == a).sum(), (component == b).sum()) < min_size:
            component[component == b] = a
    return in_order_of_first_pixels(component).reshape(planes.shape[1:])


def noise(channels: int, seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    """Whole numbers with soft blobs: (C, H, W)."""
    coarse = np.random.default_rng(seed).normal(0, 500, (channels, height, width))
    planes = np.stack([gaussian_filter(plane, 2) for plane in coarse])
    return np.clip(np.round(128 + planes), 0, 255).astype(np.float32)


@examples(60)
@given(
    plane=st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda size: arrays(np.uint8, (1, *size), elements=st.integers(0, 12) | st.integers(0, 255))
    ),
    neighbors=st.sampled_from([4, 8]),
    k=st.integers(0, 100),
    min_size=st.integers(0, 12),
)
def test_equals_the_papers_algorithm(plane, neighbors, k, min_size):
    """One plane of whole numbers: weights are exact, and ties are many."""
    labels, count = segment(sort_edges(plane.astype(np.float32), neighbors), k, min_size)
    assert labels.dtype == np.int32
    assert count == labels.max() + 1
    np.testing.assert_array_equal(labels, segment_naively(plane, neighbors, k, min_size))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize(("k", "min_size"), [(20, 0), (20, 10), (100, 25), (5, 3)])
def test_equals_the_papers_algorithm_on_more_pixels(channels, neighbors, k, min_size):
    planes = noise(channels, seed=channels)
    labels, count = segment(sort_edges(planes, neighbors), k, min_size)
    assert count > 1
    np.testing.assert_array_equal(labels, segment_naively(planes, neighbors, k, min_size))


@pytest.mark.parametrize("neighbors", [4, 8])
@pytest.mark.parametrize("size", [(20, 30), (1, 1), (1, 7), (7, 1), (2, 2)])
def test_edges_are_all_there_sorted_by_weight(neighbors, size):
    planes = np.random.default_rng(0).uniform(0, 255, (3, *size)).astype(np.float32)
    planes[:, 0, 0], planes[:, -1, -1] = 0, 255  # at 2 x 2 and eight neighbors the largest weight there is
    edges = sort_edges(planes, neighbors)
    assert (np.diff(edges.weights) >= 0).all()
    directions = ((0, 1), (1, 0), (1, 1), (-1, 1))
    steps = np.array([down * size[1] + right for down, right in directions])
    pixels = edges.codes >> 2
    found = np.array(sorted(zip(pixels, pixels + steps[edges.codes & 3], edges.weights, strict=True))).reshape(-1, 3)
    expected = [(pixel, partner, weight * STEPS_PER_LEVEL) for weight, pixel, partner in edges_of(planes, neighbors)]
    expected = np.array(sorted(expected)).reshape(-1, 3)
    np.testing.assert_array_equal(found[:, :2], expected[:, :2])
    np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=3)


def test_equal_edges_keep_the_order_of_their_pixels():
    edges = sort_edges(np.random.default_rng(0).integers(0, 3, (1, 15, 20)).astype(np.float32))
    order = np.lexsort((edges.codes, edges.weights))
    np.testing.assert_array_equal(order, np.arange(len(order)))
    assert len(np.unique(edges.weights)) == 3


@pytest.mark.parametrize("neighbors", [4, 8])
def test_without_k_segments_are_the_flat_zones(neighbors):
    plane = np.random.default_rng(1).integers(0, 4, (20, 30))
    labels, _ = segment(sort_edges(plane[None].astype(np.float32), neighbors), 0, 0)
    structure = np.ones((3, 3)) if neighbors == 8 else None
    zones, count = np.zeros_like(plane), 0
    for value in range(4):
        found, more = label(plane == value, structure)
        zones[plane == value] = found[plane == value] + count
        count += more
    np.testing.assert_array_equal(labels, in_order_of_first_pixels(zones.ravel()).reshape(20, 30))


def test_a_large_k_or_least_size_joins_everything():
    for planes, k, least in ((noise(3, 2), 442 * 600, 0), (noise(3, 0), 1, 10_000)):
        labels, count = segment(sort_edges(planes), k, least)
        assert count == 1
        assert not labels.any()


@examples(20)
@given(seed=st.integers(0, 1000), k=st.integers(0, 60), min_size=st.integers(1, 80), neighbors=st.sampled_from([4, 8]))
def test_small_segments_are_joined_whole(seed, k, min_size, neighbors):
    edges = sort_edges(noise(3, seed), neighbors)
    fine, fine_count = segment(edges, k, 1)
    np.testing.assert_array_equal(fine, segment(edges, k, 0)[0])
    coarse, count = segment(edges, k, min_size)
    assert np.bincount(coarse.ravel()).min() >= min_size
    pairs = np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1)
    assert pairs.shape[1] == fine_count  # each fine segment lies in one coarse one
    assert count <= fine_count


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (1, 9, 3), (9, 1), (1, 1, 3)])
def test_smooths_by_a_gaussian(shape):
    image = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    planes = smooth(image, 0.8)
    channels = image[..., None] if image.ndim == 2 else image
    assert planes.dtype == np.float32
    assert planes.shape == (channels.shape[2], *shape[:2])
    for plane, channel in zip(planes, np.moveaxis(channels, 2, 0), strict=True):
        expected = gaussian_filter(channel.astype(float), 0.8, mode="mirror", radius=3)
        np.testing.assert_allclose(plane, expected, atol=0.5)
