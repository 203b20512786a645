import numpy as np
import pytest
from factories import examples, soft_image
from hypothesis import given, strategies as st

from sppdet.proposals.grouping import Hierarchy, group
from sppdet.proposals.segmentation import segment, smooth, sort_edges
from sppdet.proposals.segments import Segments, describe, quantize

SIMILARITIES = ["C", "T", "S", "F", "CTSF", "TSF"]


def segments_of(seed: int, min_size: int = 8) -> tuple[np.ndarray, Segments]:
    """Labels (20, 30) of a soft random image, and their segments."""
    image = soft_image(seed, spread=250)
    planes = smooth(image, 0.8)
    labels, count = segment(sort_edges(planes), 20, min_size)
    return labels, describe(labels, count, quantize(image, planes))


def similarities(segments: Segments, masks: list[np.ndarray], a: int, b: int) -> dict[str, float]:
    """By letter, of two nodes given as masks (n,) over the segments."""

    def histogram(name: str, node: int) -> np.ndarray:
        rows, sizes = getattr(segments, name)[masks[node]].astype(float), segments.sizes[masks[node]]
        return (rows * sizes[:, None]).sum(axis=0) / sizes.sum()

    both = masks[a] | masks[b]
    size, boxes, pixels = segments.sizes[both].sum(), segments.boxes[both], segments.sizes.sum()
    width, height = boxes[:, 2:].max(axis=0) - boxes[:, :2].min(axis=0)
    return {
        "C": np.minimum(histogram("color", a), histogram("color", b)).sum(),
        "T": np.minimum(histogram("texture", a), histogram("texture", b)).sum(),
        "S": 1 - size / pixels,
        "F": 1 - (width * height - size) / pixels,
    }


def assert_greedy(segments: Segments, similarity: str, children: np.ndarray) -> None:
    """Each merge joins, of all pairs of neighbors alive, the most similar (in double precision, up to rounding)."""
    count = len(segments.sizes)
    masks = list(np.eye(count, dtype=bool))
    alive = set(range(count))
    touches = np.zeros((count, count), dtype=bool)
    touches[tuple(segments.pairs.T)] = touches[tuple(segments.pairs[:, ::-1].T)] = True
    known: dict[tuple[int, int], float] = {}
    for node, (a, b) in enumerate(children.tolist(), start=count):
        values = {}
        for first in alive:
            for second in alive:
                if first < second and touches[masks[first]][:, masks[second]].any():
                    pair = (first, second)
                    if pair not in known:
                        parts = similarities(segments, masks, *pair)
                        known[pair] = sum(parts[letter] for letter in similarity)
                    values[pair] = known[pair]
        assert values[(min(a, b), max(a, b))] >= max(values.values()) - 1e-5
        masks.append(masks[a] | masks[b])
        alive = alive - {a, b} | {node}
    assert len(alive) == 1


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_merges_the_most_similar_neighbors_first(similarity):
    labels, segments = segments_of(seed=1)
    assert len(segments.sizes) > 15
    children, _ = group(segments, labels.size, similarity)
    assert_greedy(segments, similarity, children)


@examples(15)
@given(seed=st.integers(0, 10_000), min_size=st.integers(12, 200), similarity=st.sampled_from(SIMILARITIES))
def test_merges_and_boxes_of_any_segmentation(seed, min_size, similarity):
    labels, segments = segments_of(seed, min_size)
    count = len(segments.sizes)
    children, boxes = group(segments, labels.size, similarity)
    assert_greedy(segments, similarity, children)
    assert sorted(children.ravel().tolist()) == list(range(2 * count - 2))  # each node but the last is merged once
    assert (children < np.arange(count, 2 * count - 1)[:, None]).all()
    np.testing.assert_array_equal(boxes[:count], segments.boxes)
    assert boxes[-1].tolist() == [0, 0, 30, 20]
    check_hierarchy(Hierarchy(labels, children, boxes))


def check_hierarchy(hierarchy: Hierarchy) -> None:
    """Boxes bound masks; the parts of a node are disjoint and make it up."""
    count = len(hierarchy.children) + 1
    masks = [hierarchy.mask(node) for node in range(len(hierarchy.boxes))]
    for node, (mask, box) in enumerate(zip(masks, hierarchy.boxes.tolist(), strict=True)):
        y, x = np.nonzero(mask)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == box
        segments = hierarchy.segments(node)
        np.testing.assert_array_equal(segments, np.unique(hierarchy.labels[mask]))
        if node < count:
            assert segments.tolist() == [node]
        else:
            a, b = (masks[child] for child in hierarchy.children[node - count])
            assert not (a & b).any()
            np.testing.assert_array_equal(mask, a | b)
    assert masks[-1].all()


def test_each_similarity_alone_decides():
    """Four segments in a row, 0 to 3: the pair that color, texture, size and fill would merge first differs."""
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 22, 10], [22, 0, 24, 10]])
    color = np.array([[1, 0], [1, 0], [0, 1], [0.4, 0.6]], dtype=np.float32)
    texture = np.array([[1, 0], [0, 1], [0.1, 0.9], [1, 0]], dtype=np.float32)
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    sizes = np.array([100, 100, 10, 20])  # region 2 has holes, so that fill is best away from it
    segments = Segments(sizes, boxes, color, texture, pairs)
    first = {letter: tuple(group(segments, 240, letter)[0][0].tolist()) for letter in "CTSF"}
    assert first == {"C": (0, 1), "T": (1, 2), "S": (2, 3), "F": (0, 1)}


def test_regions_that_are_not_neighbors_wait():
    """The ends of a row are alike; they merge only once the middle has joined one of them."""
    boxes = np.array([[0, 0, 5, 5], [5, 0, 10, 5], [10, 0, 15, 5]])
    color = np.array([[1, 0], [0.1, 0.9], [1, 0]], dtype=np.float32)
    segments = Segments(np.full(3, 25), boxes, color, color, np.array([[0, 1], [1, 2]]))
    children, boxes = group(segments, 75, "C")
    assert children[0].tolist() == [0, 1]
    assert sorted(children[1].tolist()) == [2, 3]
    assert boxes[3:].tolist() == [[0, 0, 10, 5], [0, 0, 15, 5]]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_one_segment_is_its_own_hierarchy(similarity):
    labels, segments = segments_of(seed=0, min_size=10_000)
    children, boxes = group(segments, labels.size, similarity)
    assert (children.shape, boxes.tolist()) == ((0, 2), [[0, 0, 30, 20]])
    check_hierarchy(Hierarchy(labels, children, boxes))


def test_nodes_count_from_the_end_and_no_further():
    labels, segments = segments_of(seed=0)
    hierarchy = Hierarchy(labels, *group(segments, labels.size, "CTSF"))
    assert hierarchy.mask(-1).all()
    for node in (len(hierarchy.boxes), -len(hierarchy.boxes) - 1):
        with pytest.raises(IndexError):
            hierarchy.segments(node)
